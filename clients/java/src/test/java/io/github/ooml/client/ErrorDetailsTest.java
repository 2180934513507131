package io.github.ooml.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.google.protobuf.Any;
import com.google.protobuf.ByteString;
import com.google.protobuf.Message;
import com.google.rpc.BadRequest;
import com.google.rpc.BadRequest.FieldViolation;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import com.google.rpc.Status;
import io.github.ooml.bandit.v1.ErrorReason;
import io.github.ooml.bandit.v1.ScoreRequest;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class ErrorDetailsTest {
    private static final ErrorDetails NONE = new ErrorDetails(ErrorReason.ERROR_REASON_UNSPECIFIED, List.of(), Optional.empty());

    @Test
    void whatTheServerSaysOfAnErrorReachesTheCaller() throws Exception {
        FieldViolation violation = FieldViolation.newBuilder().setField("policy").setDescription("required").build();
        Status status = status(
                ErrorInfo.newBuilder().setReason("ERROR_REASON_DRAINING").setDomain("ooml.bandit.v1").build(),
                BadRequest.newBuilder().addFieldViolations(violation).build(),
                RetryInfo.newBuilder().setRetryDelay(com.google.protobuf.Duration.newBuilder().setSeconds(1).setNanos(5)).build());
        try (Listener server = new Listener();
                Client client = server.client().deadline(Duration.ofSeconds(30)).build()) {
            server.failures.add(StatusProto.toStatusRuntimeException(status));
            Throwable error = assertThrows(
                    StatusRuntimeException.class, () -> client.bandit().score(ScoreRequest.getDefaultInstance()));
            ErrorDetails told = new ErrorDetails(
                    ErrorReason.ERROR_REASON_DRAINING, List.of(violation), Optional.of(Duration.ofSeconds(1, 5)));
            assertEquals(told, ErrorDetails.of(error));
            assertEquals(told, ErrorDetails.of(status));
        }
    }

    @Test
    void aReasonOfALaterServerIsUnrecognized() {
        Status status = status(ErrorInfo.newBuilder().setReason("ERROR_REASON_NEW").setDomain("ooml.bandit.v1").build());
        assertEquals(ErrorReason.UNRECOGNIZED, ErrorDetails.of(status).reason());
    }

    @Test
    void reasonsOfOthersAreNotOurs() {
        Status status = status(ErrorInfo.newBuilder().setReason("ERROR_REASON_DRAINING").setDomain("proxy.test").build());
        assertEquals(NONE, ErrorDetails.of(status));
    }

    @Test
    void anErrorWithoutReadableDetailsHasNone() {
        Any broken = Any.pack(ErrorInfo.getDefaultInstance()).toBuilder().setValue(ByteString.copyFromUtf8("?")).build();
        assertEquals(NONE, ErrorDetails.of(Status.newBuilder().addDetails(broken).build()));
        assertEquals(NONE, ErrorDetails.of(io.grpc.Status.UNAVAILABLE.asRuntimeException()));
        assertEquals(NONE, ErrorDetails.of(new IllegalStateException()));
    }

    private static Status status(Message... details) {
        Status.Builder status = Status.newBuilder().setCode(io.grpc.Status.Code.INVALID_ARGUMENT.value());
        List.of(details).forEach(detail -> status.addDetails(Any.pack(detail)));
        return status.build();
    }
}
