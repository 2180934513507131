package io.github.ooml.client;

import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.MethodDescriptor;
import io.grpc.MethodDescriptor.MethodType;
import java.time.Duration;

/** Gives each call that asks once and has no deadline one. A stream stays open for as long as its caller likes. */
final class DefaultDeadline implements ClientInterceptor {
    private final Duration deadline;

    DefaultDeadline(Duration deadline) {
        this.deadline = deadline;
    }

    @Override
    public <Q, R> ClientCall<Q, R> interceptCall(MethodDescriptor<Q, R> method, CallOptions options, Channel next) {
        boolean bounded = options.getDeadline() != null || method.getType() != MethodType.UNARY;
        return next.newCall(method, bounded ? options : options.withDeadlineAfter(deadline));
    }
}
