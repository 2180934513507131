package io.github.ooml.client;

import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.MethodDescriptor;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;

/** Connections that take calls in turn: a server with several workers on one port spreads connections over them, not calls. */
final class RoundRobin extends Channel {
    private final List<? extends Channel> connections;
    private final AtomicInteger calls = new AtomicInteger();

    RoundRobin(List<? extends Channel> connections) {
        this.connections = List.copyOf(connections);
    }

    @Override
    public <Q, R> ClientCall<Q, R> newCall(MethodDescriptor<Q, R> method, CallOptions options) {
        return connections.get(Math.floorMod(calls.getAndIncrement(), connections.size())).newCall(method, options);
    }

    @Override
    public String authority() {
        return connections.get(0).authority();
    }
}
