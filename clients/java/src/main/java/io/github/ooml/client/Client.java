package io.github.ooml.client;

import io.github.ooml.bandit.v1.BanditServiceGrpc;
import io.github.ooml.bandit.v1.BanditServiceGrpc.BanditServiceBlockingStub;
import io.github.ooml.bandit.v1.BanditServiceGrpc.BanditServiceFutureStub;
import io.github.ooml.bandit.v1.BanditServiceGrpc.BanditServiceStub;
import io.github.ooml.bandit.v1.PolicyServiceGrpc;
import io.github.ooml.bandit.v1.PolicyServiceGrpc.PolicyServiceBlockingStub;
import io.github.ooml.bandit.v1.PolicyServiceGrpc.PolicyServiceFutureStub;
import io.github.ooml.bandit.v1.PolicyServiceGrpc.PolicyServiceStub;
import io.grpc.Channel;
import io.grpc.ClientInterceptor;
import io.grpc.ClientInterceptors;
import io.grpc.ManagedChannel;
import java.util.List;

/**
 * Connections to an ooml server, and the stubs that call through them. Safe to share among threads; make one and keep it.
 *
 * <p>Every call through these stubs gets the client's deadline unless it brings its own ({@code
 * client.bandit().withDeadlineAfter(Duration.ofSeconds(2)).score(request)}); a ScoreStream gets none. Every ScoreRequest without a
 * {@code request_id} is sent with a random one, so that it may be retried; the caller's message is not changed. A call that fails
 * throws {@link io.grpc.StatusRuntimeException}; {@link ErrorDetails#of(Throwable)} reads what the server said about it.
 */
public final class Client implements AutoCloseable {
    private final List<ManagedChannel> connections;
    private final Channel channel;

    Client(List<ManagedChannel> connections, List<ClientInterceptor> interceptors) {
        this.connections = connections;
        this.channel = ClientInterceptors.intercept(new RoundRobin(connections), interceptors);
    }

    /**
     * Begins a client; {@link ClientBuilder#build()} ends it.
     *
     * @param target the server, as {@code host:port}
     * @return a builder with the defaults its methods name
     */
    public static ClientBuilder builder(String target) {
        return new ClientBuilder(target);
    }

    /**
     * Decisions and rewards; each call waits for its answer.
     *
     * @return a stub without ScoreStream, which {@link #banditAsync()} has
     */
    public BanditServiceBlockingStub bandit() {
        return BanditServiceGrpc.newBlockingStub(channel);
    }

    /**
     * Decisions and rewards; each call gives a future.
     *
     * @return a stub without ScoreStream, which {@link #banditAsync()} has
     */
    public BanditServiceFutureStub banditFuture() {
        return BanditServiceGrpc.newFutureStub(channel);
    }

    /**
     * Decisions and rewards, ScoreStream among them; answers go to an observer.
     *
     * @return a stub
     */
    public BanditServiceStub banditAsync() {
        return BanditServiceGrpc.newStub(channel);
    }

    /**
     * Policies, their evidence, and forgetting a person; each call waits for its answer.
     *
     * @return a stub
     */
    public PolicyServiceBlockingStub policies() {
        return PolicyServiceGrpc.newBlockingStub(channel);
    }

    /**
     * Policies, their evidence, and forgetting a person; each call gives a future.
     *
     * @return a stub
     */
    public PolicyServiceFutureStub policiesFuture() {
        return PolicyServiceGrpc.newFutureStub(channel);
    }

    /**
     * Policies, their evidence, and forgetting a person; answers go to an observer.
     *
     * @return a stub
     */
    public PolicyServiceStub policiesAsync() {
        return PolicyServiceGrpc.newStub(channel);
    }

    /** Closes the connections. Calls that are still under way end as cancelled. */
    @Override
    public void close() {
        connections.forEach(ManagedChannel::shutdownNow);
    }
}
