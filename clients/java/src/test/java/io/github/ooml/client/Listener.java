package io.github.ooml.client;

import io.github.ooml.bandit.v1.BanditServiceGrpc.BanditServiceImplBase;
import io.github.ooml.bandit.v1.BatchScoreRequest;
import io.github.ooml.bandit.v1.BatchScoreResponse;
import io.github.ooml.bandit.v1.ScoreRequest;
import io.github.ooml.bandit.v1.ScoreResponse;
import io.github.ooml.bandit.v1.ScoreStreamRequest;
import io.github.ooml.bandit.v1.ScoreStreamResponse;
import io.grpc.Context;
import io.grpc.Deadline;
import io.grpc.Grpc;
import io.grpc.InsecureServerCredentials;
import io.grpc.Metadata;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerCredentials;
import io.grpc.ServerInterceptor;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.net.SocketAddress;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.Queue;

/** A server on a free port that decides nothing: it keeps what reaches it, fails as often as it is told to, then answers. */
final class Listener extends BanditServiceImplBase implements ServerInterceptor, AutoCloseable {
    final List<ScoreRequest> requests = Collections.synchronizedList(new ArrayList<>());
    final List<SocketAddress> callers = Collections.synchronizedList(new ArrayList<>());
    final List<Optional<Deadline>> deadlines = Collections.synchronizedList(new ArrayList<>());
    final List<Metadata> headers = Collections.synchronizedList(new ArrayList<>());
    final Queue<StatusRuntimeException> failures = new ArrayDeque<>();
    private final Server server;

    Listener() throws IOException {
        this(InsecureServerCredentials.create());
    }

    Listener(ServerCredentials credentials) throws IOException {
        server = Grpc.newServerBuilderForPort(0, credentials).addService(this).intercept(this).build().start();
    }

    ClientBuilder client() {
        return Client.builder("127.0.0.1:" + server.getPort());
    }

    @Override
    public <Q, R> ServerCall.Listener<Q> interceptCall(ServerCall<Q, R> call, Metadata headers, ServerCallHandler<Q, R> next) {
        this.headers.add(headers);
        callers.add(call.getAttributes().get(Grpc.TRANSPORT_ATTR_REMOTE_ADDR));
        deadlines.add(Optional.ofNullable(Context.current().getDeadline()));
        return next.startCall(call, headers);
    }

    @Override
    public void score(ScoreRequest request, StreamObserver<ScoreResponse> answer) {
        requests.add(request);
        finish(ScoreResponse.getDefaultInstance(), answer);
    }

    @Override
    public void batchScore(BatchScoreRequest batch, StreamObserver<BatchScoreResponse> answer) {
        requests.addAll(batch.getRequestsList());
        finish(BatchScoreResponse.getDefaultInstance(), answer);
    }

    @Override
    public StreamObserver<ScoreStreamRequest> scoreStream(StreamObserver<ScoreStreamResponse> answer) {
        return new StreamObserver<>() {
            @Override
            public void onNext(ScoreStreamRequest item) {
                requests.add(item.getRequest());
            }

            @Override
            public void onError(Throwable broken) {}

            @Override
            public void onCompleted() {
                finish(ScoreStreamResponse.getDefaultInstance(), answer);
            }
        };
    }

    @Override
    public void close() {
        server.shutdownNow();
    }

    private <R> void finish(R response, StreamObserver<R> answer) {
        StatusRuntimeException failure = failures.poll();
        if (failure != null) {
            answer.onError(failure);
            return;
        }
        answer.onNext(response);
        answer.onCompleted();
    }
}
