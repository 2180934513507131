package io.github.ooml.client.conformance;

import io.github.ooml.bandit.v1.BanditServiceGrpc.BanditServiceStub;
import io.github.ooml.bandit.v1.ScoreStreamRequest;
import io.github.ooml.bandit.v1.ScoreStreamResponse;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientResponseObserver;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;

/** One ScoreStream: everything is sent at once, and what comes back is kept until it ends, or is cancelled after so many responses. */
final class Stream implements ClientResponseObserver<ScoreStreamRequest, ScoreStreamResponse> {
    static final int TO_THE_END = -1;

    private final int cancelAfter;
    private final List<ScoreStreamResponse> responses = new ArrayList<>();
    private final CountDownLatch ended = new CountDownLatch(1);
    private ClientCallStreamObserver<ScoreStreamRequest> call;
    private Throwable error;

    Stream(int cancelAfter) {
        this.cancelAfter = cancelAfter;
    }

    void run(BanditServiceStub bandit, List<ScoreStreamRequest> requests) throws InterruptedException {
        bandit.scoreStream(this);
        requests.forEach(call::onNext);
        if (cancelAfter == TO_THE_END) {
            call.onCompleted();
        } else if (cancelAfter == 0) {
            cancel();
        }
        ended.await();
    }

    List<ScoreStreamResponse> responses() {
        return responses;
    }

    /** Why the stream broke; null: it ended as it should. */
    Throwable error() {
        return error;
    }

    @Override
    public void beforeStart(ClientCallStreamObserver<ScoreStreamRequest> call) {
        this.call = call;
    }

    @Override
    public void onNext(ScoreStreamResponse response) {
        responses.add(response);
        if (responses.size() == cancelAfter) {
            cancel();
        }
    }

    @Override
    public void onError(Throwable error) {
        this.error = error;
        ended.countDown();
    }

    @Override
    public void onCompleted() {
        ended.countDown();
    }

    private void cancel() {
        call.cancel("enough responses", null);
    }
}
