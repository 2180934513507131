package io.github.ooml.client.conformance;

import com.google.common.util.concurrent.ListenableFuture;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.protobuf.util.JsonFormat;
import io.github.ooml.bandit.v1.ActivateRequest;
import io.github.ooml.bandit.v1.BanditServiceGrpc.BanditServiceFutureStub;
import io.github.ooml.bandit.v1.BanditServiceGrpc.BanditServiceStub;
import io.github.ooml.bandit.v1.BatchRewardRequest;
import io.github.ooml.bandit.v1.BatchScoreRequest;
import io.github.ooml.bandit.v1.ForgetScopeRequest;
import io.github.ooml.bandit.v1.GetEvidenceRequest;
import io.github.ooml.bandit.v1.GetPolicyRequest;
import io.github.ooml.bandit.v1.ListPoliciesRequest;
import io.github.ooml.bandit.v1.PolicyServiceGrpc.PolicyServiceFutureStub;
import io.github.ooml.bandit.v1.RewardRequest;
import io.github.ooml.bandit.v1.ScoreRequest;
import io.github.ooml.bandit.v1.ScoreStreamRequest;
import io.github.ooml.client.Client;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.stub.AbstractStub;
import io.grpc.stub.MetadataUtils;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ExecutionException;

/** The steps of one case, made through one client. */
final class Steps {
    private final Client client;
    private final Saved saved = new Saved();

    Steps(Client client) {
        this.client = client;
    }

    /** Executes a step; nothing that comes of it is thrown. */
    JsonObject execute(JsonObject step) {
        long began = System.nanoTime();
        JsonObject outcome;
        try {
            outcome = step.has("wait_ms") ? waited(step.get("wait_ms").getAsLong()) : called(step);
            if (step.has("save") && outcome.get("code").getAsString().equals("OK")) {
                JsonElement response = outcome.has("response") ? outcome.get("response") : outcome.get("responses");
                step.getAsJsonObject("save").asMap().forEach((name, path) -> saved.keep(name, path.getAsString(), response));
            }
        } catch (InvalidProtocolBufferException refused) {
            outcome = Outcome.of(Outcome.REFUSED_HERE, refused.getMessage());
        } catch (Exception mistake) {
            outcome = Outcome.of(Outcome.NOT_EXECUTED, mistake.toString());
        }
        outcome.addProperty("ms", (System.nanoTime() - began) / 1_000_000);
        return outcome;
    }

    private static JsonObject waited(long milliseconds) throws InterruptedException {
        Thread.sleep(milliseconds);
        return Outcome.of("OK", null);
    }

    private JsonObject called(JsonObject step) throws InvalidProtocolBufferException, InterruptedException {
        if (step.get("call").getAsString().equals("ScoreStream")) {
            return streamed(step);
        }
        ListenableFuture<? extends Message> answer = answer(step);
        if (step.has("cancel_at_once")) {
            answer.cancel(true);
        }
        try {
            return Outcome.answered(answer.get());
        } catch (ExecutionException failed) {
            return Outcome.failed(failed.getCause());
        } catch (CancellationException cancelled) {
            return Outcome.failed(Status.CANCELLED.asRuntimeException());
        }
    }

    private ListenableFuture<? extends Message> answer(JsonObject step) throws InvalidProtocolBufferException {
        BanditServiceFutureStub bandit = with(step, client.banditFuture());
        PolicyServiceFutureStub policies = with(step, client.policiesFuture());
        JsonElement request = step.get("request");
        return switch (step.get("call").getAsString()) {
            case "Score" -> bandit.score(parse(request, ScoreRequest.getDefaultInstance()));
            case "Reward" -> bandit.reward(parse(request, RewardRequest.getDefaultInstance()));
            case "Activate" -> bandit.activate(parse(request, ActivateRequest.getDefaultInstance()));
            case "BatchScore" -> bandit.batchScore(parse(request, BatchScoreRequest.getDefaultInstance()));
            case "BatchReward" -> bandit.batchReward(parse(request, BatchRewardRequest.getDefaultInstance()));
            case "ListPolicies" -> policies.listPolicies(parse(request, ListPoliciesRequest.getDefaultInstance()));
            case "GetPolicy" -> policies.getPolicy(parse(request, GetPolicyRequest.getDefaultInstance()));
            case "GetEvidence" -> policies.getEvidence(parse(request, GetEvidenceRequest.getDefaultInstance()));
            case "ForgetScope" -> policies.forgetScope(parse(request, ForgetScopeRequest.getDefaultInstance()));
            default -> throw new IllegalArgumentException("no such call");
        };
    }

    private JsonObject streamed(JsonObject step) throws InvalidProtocolBufferException, InterruptedException {
        List<ScoreStreamRequest> requests = new ArrayList<>();
        for (JsonElement request : step.getAsJsonArray("requests")) {
            requests.add(parse(request, ScoreStreamRequest.getDefaultInstance()));
        }
        BanditServiceStub bandit = with(step, client.banditAsync());
        Stream stream = new Stream(step.has("cancel_after") ? step.get("cancel_after").getAsInt() : Stream.TO_THE_END);
        stream.run(bandit, requests);
        JsonObject outcome = stream.error() == null ? Outcome.of("OK", null) : Outcome.failed(stream.error());
        JsonArray responses = new JsonArray();
        stream.responses().forEach(response -> responses.add(Outcome.json(response)));
        outcome.add("responses", responses);
        return outcome;
    }

    private static <S extends AbstractStub<S>> S with(JsonObject step, S stub) {
        S prepared = stub;
        if (step.has("deadline_ms")) {
            prepared = prepared.withDeadlineAfter(Duration.ofMillis(step.get("deadline_ms").getAsLong()));
        }
        if (step.has("metadata")) {
            Metadata headers = new Metadata();
            step.getAsJsonObject("metadata")
                    .asMap()
                    .forEach((name, value) ->
                            headers.put(Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER), value.getAsString()));
            prepared = prepared.withInterceptors(MetadataUtils.newAttachHeadersInterceptor(headers));
        }
        return prepared;
    }

    @SuppressWarnings("unchecked") // a builder builds the class it came from
    private <M extends Message> M parse(JsonElement request, M kind) throws InvalidProtocolBufferException {
        Message.Builder message = kind.newBuilderForType();
        JsonFormat.parser().merge(saved.fill(request == null ? new JsonObject() : request).toString(), message);
        return (M) message.build();
    }
}
