package io.github.ooml.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.Gson;
import io.github.ooml.bandit.v1.BatchScoreRequest;
import io.github.ooml.bandit.v1.ScoreRequest;
import io.github.ooml.bandit.v1.ScoreStreamRequest;
import io.github.ooml.bandit.v1.ScoreStreamResponse;
import io.grpc.Deadline;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class ClientTest {
    private static final ScoreRequest NAMELESS = ScoreRequest.newBuilder().setPolicy("tips").build();
    private static final Duration AMPLE = Duration.ofSeconds(30);

    private Listener server;

    @BeforeEach
    void start() throws IOException {
        server = new Listener();
    }

    @AfterEach
    void stop() {
        server.close();
    }

    @Test
    void eachRequestWithoutAnIdIsSentWithOneOfItsOwn() {
        try (Client client = server.client().deadline(AMPLE).build()) {
            client.bandit().score(NAMELESS);
            client.bandit().batchScore(BatchScoreRequest.newBuilder().addRequests(NAMELESS).addRequests(NAMELESS).build());
            stream(client, ScoreStreamRequest.newBuilder().setRequest(NAMELESS).build());
        }
        List<UUID> ids = server.requests.stream().map(request -> UUID.fromString(request.getRequestId())).toList();
        assertEquals(4, ids.stream().distinct().count());
        assertEquals("", NAMELESS.getRequestId());
    }

    @Test
    void whatTheCallerSentIsNotChangedOtherwise() {
        ScoreRequest named = NAMELESS.toBuilder().setRequestId("mine").build();
        try (Client client = server.client().deadline(AMPLE).build()) {
            client.bandit().score(named);
            client.bandit().batchScore(BatchScoreRequest.newBuilder().addRequests(named).build());
            stream(client, ScoreStreamRequest.newBuilder().setRequest(named).build());
            stream(client, ScoreStreamRequest.getDefaultInstance());
        }
        assertEquals(List.of(named, named, named, ScoreRequest.getDefaultInstance()), server.requests);
    }

    @Test
    void aCallHasTheClientsDeadlineUnlessItBringsItsOwnAndAStreamHasNone() {
        try (Client client = server.client().deadline(AMPLE).build()) {
            client.bandit().score(NAMELESS);
            client.bandit().withDeadlineAfter(Duration.ofSeconds(90)).score(NAMELESS);
            stream(client, ScoreStreamRequest.getDefaultInstance());
        }
        assertWithin(0, 30, server.deadlines.get(0).orElseThrow());
        assertWithin(30, 90, server.deadlines.get(1).orElseThrow());
        assertTrue(server.deadlines.get(2).isEmpty());
    }

    @Test
    void callsTakeConnectionsInTurn() {
        try (Client client = server.client().deadline(AMPLE).channels(2).build()) {
            for (int call = 0; call < 4; call++) {
                client.bandit().score(NAMELESS);
            }
        }
        assertNotEquals(server.callers.get(0), server.callers.get(1));
        assertEquals(server.callers.subList(0, 2), server.callers.subList(2, 4));
    }

    @Test
    void aCallIsSentFourTimesAtMostAlwaysWithTheSameId() {
        for (int failure = 0; failure < 4; failure++) {
            server.failures.add(Status.UNAVAILABLE.asRuntimeException());
        }
        try (Client client = server.client().deadline(AMPLE).build()) {
            assertEquals(Status.Code.UNAVAILABLE, failureOf(client).getStatus().getCode());
        }
        assertEquals(4, server.requests.size());
        assertEquals(1, server.requests.stream().distinct().count());
    }

    @Test
    void withoutRetryACallIsSentOnce() {
        server.failures.add(Status.UNAVAILABLE.asRuntimeException());
        try (Client client = server.client().deadline(AMPLE).retry(false).build()) {
            assertEquals(Status.Code.UNAVAILABLE, failureOf(client).getStatus().getCode());
        }
        assertEquals(1, server.requests.size());
    }

    @Test
    void allClientsRetryAlike() throws IOException {
        String shared = Files.readString(Path.of("../conformance/service_config.json"));
        assertEquals(new Gson().fromJson(shared, Map.class), RetryPolicy.SERVICE_CONFIG);
    }

    @Test
    void aClosedClientCallsNobody() {
        Client client = server.client().deadline(AMPLE).retry(false).build();
        client.close();
        assertEquals(Status.Code.UNAVAILABLE, failureOf(client).getStatus().getCode());
        assertEquals(List.of(), server.requests);
    }

    @Test
    void settingsThatMakeNoSenseAreRefused() {
        ClientBuilder client = Client.builder("localhost:1");
        assertThrows(IllegalArgumentException.class, () -> client.channels(0));
        assertThrows(IllegalArgumentException.class, () -> client.deadline(Duration.ZERO));
        assertThrows(IllegalArgumentException.class, () -> client.keepAlive(Duration.ofSeconds(10), Duration.ofSeconds(-1)));
        assertThrows(IllegalStateException.class, () -> client.serverName("ooml.test").build());
    }

    private static StatusRuntimeException failureOf(Client client) {
        return assertThrows(StatusRuntimeException.class, () -> client.bandit().score(NAMELESS));
    }

    private static void assertWithin(long over, long atMost, Deadline deadline) {
        long left = deadline.timeRemaining(TimeUnit.MILLISECONDS);
        assertTrue(over * 1000 < left && left <= atMost * 1000, left + " ms are left");
    }

    private static void stream(Client client, ScoreStreamRequest request) {
        CompletableFuture<Void> ended = new CompletableFuture<>();
        StreamObserver<ScoreStreamRequest> requests = client.banditAsync().scoreStream(new StreamObserver<ScoreStreamResponse>() {
            @Override
            public void onNext(ScoreStreamResponse response) {}

            @Override
            public void onError(Throwable error) {
                ended.completeExceptionally(error);
            }

            @Override
            public void onCompleted() {
                ended.complete(null);
            }
        });
        requests.onNext(request);
        requests.onCompleted();
        ended.join();
    }
}
