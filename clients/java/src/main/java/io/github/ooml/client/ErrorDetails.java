package io.github.ooml.client;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.rpc.BadRequest;
import com.google.rpc.BadRequest.FieldViolation;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import com.google.rpc.Status;
import io.github.ooml.bandit.v1.ErrorReason;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.List;
import java.util.Optional;

/**
 * What an error says beside its code and message.
 *
 * @param reason why the call failed; ERROR_REASON_UNSPECIFIED when ooml did not say, UNRECOGNIZED when this version of the client does
 *     not know the reason
 * @param violations the fields at fault, all of them; empty unless the request was at fault
 * @param retryDelay how long to wait before trying again, when trying again may help
 */
public record ErrorDetails(ErrorReason reason, List<FieldViolation> violations, Optional<Duration> retryDelay) {
    /** The domain of the reasons in {@link ErrorReason}. */
    public static final String DOMAIN = "ooml.bandit.v1";

    /**
     * Reads the details of a call that failed.
     *
     * @param error what a stub threw, or a cause of it
     * @return its details; empty ones when it brought none, as when no server was reached
     */
    public static ErrorDetails of(Throwable error) {
        Status status = StatusProto.fromThrowable(error);
        return of(status == null ? Status.getDefaultInstance() : status);
    }

    /**
     * Reads the details of one failure in a batch or a stream.
     *
     * @param status a result's error
     * @return its details
     */
    public static ErrorDetails of(Status status) {
        return new ErrorDetails(
                detail(status, ErrorInfo.class).map(ErrorDetails::reason).orElse(ErrorReason.ERROR_REASON_UNSPECIFIED),
                detail(status, BadRequest.class).map(BadRequest::getFieldViolationsList).orElse(List.of()),
                detail(status, RetryInfo.class)
                        .map(RetryInfo::getRetryDelay)
                        .map(delay -> Duration.ofSeconds(delay.getSeconds(), delay.getNanos())));
    }

    private static ErrorReason reason(ErrorInfo info) {
        if (!info.getDomain().equals(DOMAIN)) {
            return ErrorReason.ERROR_REASON_UNSPECIFIED;
        }
        var known = ErrorReason.getDescriptor().findValueByName(info.getReason());
        return known == null ? ErrorReason.UNRECOGNIZED : ErrorReason.valueOf(known);
    }

    private static <M extends Message> Optional<M> detail(Status status, Class<M> kind) {
        for (Any detail : status.getDetailsList()) {
            if (detail.is(kind)) {
                try {
                    return Optional.of(detail.unpack(kind));
                } catch (InvalidProtocolBufferException broken) {
                    return Optional.empty(); // what cannot be read says nothing; the error itself still stands
                }
            }
        }
        return Optional.empty();
    }
}
