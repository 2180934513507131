package io.github.ooml.client.conformance;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.protobuf.TypeRegistry;
import com.google.protobuf.util.JsonFormat;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.github.ooml.bandit.v1.ErrorReason;
import io.github.ooml.client.ErrorDetails;
import io.grpc.Status;

/** What a step got, in the form it is printed. */
final class Outcome {
    /** The code of what never left this program. */
    static final String REFUSED_HERE = "LOCAL";

    /** The code of a step that this program cannot execute. */
    static final String NOT_EXECUTED = "RUNNER";

    private static final JsonFormat.Printer JSON = JsonFormat.printer()
            .omittingInsignificantWhitespace()
            .usingTypeRegistry(TypeRegistry.newBuilder()
                    .add(ErrorInfo.getDescriptor())
                    .add(BadRequest.getDescriptor())
                    .add(RetryInfo.getDescriptor())
                    .build());

    private Outcome() {}

    static JsonObject of(String code, String message) {
        JsonObject outcome = new JsonObject();
        outcome.addProperty("code", code);
        if (message != null && !message.isEmpty()) {
            outcome.addProperty("message", message);
        }
        return outcome;
    }

    static JsonObject answered(Message response) {
        JsonObject outcome = of("OK", null);
        outcome.add("response", json(response));
        return outcome;
    }

    /** What a call that failed got. An error without a gRPC status counts as UNKNOWN, as everywhere in gRPC. */
    static JsonObject failed(Throwable error) {
        Status status = Status.fromThrowable(error);
        JsonObject outcome = of(status.getCode().name(), status.getDescription());
        ErrorDetails details = ErrorDetails.of(error);
        if (details.reason() != ErrorReason.ERROR_REASON_UNSPECIFIED) {
            outcome.addProperty("reason", details.reason().name());
            outcome.addProperty("domain", ErrorDetails.DOMAIN);
        }
        if (!details.violations().isEmpty()) {
            JsonArray violations = new JsonArray();
            details.violations().forEach(violation -> violations.add(json(violation)));
            outcome.add("violations", violations);
        }
        details.retryDelay().ifPresent(delay -> outcome.addProperty("retry_delay_ms", delay.toMillis()));
        return outcome;
    }

    static JsonElement json(Message message) {
        try {
            return JsonParser.parseString(JSON.print(message));
        } catch (InvalidProtocolBufferException unknownDetail) {
            throw new IllegalStateException("a message holds a detail of a kind that this program does not know", unknownDetail);
        }
    }
}
