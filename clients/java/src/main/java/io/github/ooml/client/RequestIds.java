package io.github.ooml.client;

import io.github.ooml.bandit.v1.BatchScoreRequest;
import io.github.ooml.bandit.v1.ScoreRequest;
import io.github.ooml.bandit.v1.ScoreStreamRequest;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.ForwardingClientCall.SimpleForwardingClientCall;
import io.grpc.MethodDescriptor;
import java.util.UUID;

/** Gives each ScoreRequest that has no request_id a random one: only with one is it safe to send again, as retries do. */
final class RequestIds implements ClientInterceptor {
    @Override
    public <Q, R> ClientCall<Q, R> interceptCall(MethodDescriptor<Q, R> method, CallOptions options, Channel next) {
        return new SimpleForwardingClientCall<>(next.newCall(method, options)) {
            @Override
            @SuppressWarnings("unchecked") // `named` gives a message of the class it got
            public void sendMessage(Q message) {
                super.sendMessage((Q) named(message));
            }
        };
    }

    private static Object named(Object message) {
        if (message instanceof ScoreRequest request) {
            return named(request);
        }
        if (message instanceof BatchScoreRequest batch) {
            BatchScoreRequest.Builder copy = batch.toBuilder().clearRequests();
            batch.getRequestsList().forEach(request -> copy.addRequests(named(request)));
            return copy.build();
        }
        if (message instanceof ScoreStreamRequest item && item.hasRequest()) {
            return item.toBuilder().setRequest(named(item.getRequest())).build();
        }
        return message;
    }

    private static ScoreRequest named(ScoreRequest request) {
        return request.getRequestId().isEmpty()
                ? request.toBuilder().setRequestId(UUID.randomUUID().toString()).build()
                : request;
    }
}
