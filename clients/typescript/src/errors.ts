import { type DescMessage, fromBinary, isMessage, type MessageShape } from "@bufbuild/protobuf";
import { anyUnpack, type Duration } from "@bufbuild/protobuf/wkt";
import { Metadata, type ServiceError } from "@grpc/grpc-js";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb.js";
import { type Status, StatusSchema } from "./gen/google/rpc/status_pb.js";
import { ErrorReason, ErrorReasonSchema } from "./gen/ooml/bandit/v1/errors_pb.js";

/** Why a call, or one request of a batch or a stream, failed. */
export interface ErrorDetails {
  /** The reason to decide by; UNSPECIFIED for one that is not ooml's, or newer than this client. */
  readonly reason: ErrorReason;
  /** Who gives the reason: "ooml.bandit.v1". */
  readonly domain: string;
  /** Every field at fault, by its path, such as `candidates[3].features['price']`. */
  readonly violations: readonly { readonly field: string; readonly description: string }[];
  /** Milliseconds to wait before trying again; undefined where that does not help. */
  readonly retryDelayMs: number | undefined;
}

const DOMAIN = "ooml.bandit.v1";
const REASONS: ReadonlyMap<string, ErrorReason> = new Map(ErrorReasonSchema.values.map(({ name, number }) => [name, number]));

/** Whether a call failed, by gRPC's word; `code` is its status, `details` its message. */
export function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && "code" in error && "metadata" in error && error.metadata instanceof Metadata;
}

/**
 * Why something failed.
 *
 * @param error what a call rejected with, or the `error` of one result of a batch or a stream.
 * @returns undefined when nothing is told: gRPC itself failed the call (nobody listens, time is up), or it is no error of a call.
 */
export function errorDetails(error: unknown): ErrorDetails | undefined {
  try {
    const status = statusOf(error);
    return status && detailsOf(status);
  } catch {
    // Bytes that are no status: whoever wrote them told nothing.
    return undefined;
  }
}

function statusOf(error: unknown): Status | undefined {
  if (isMessage(error, StatusSchema)) return error;
  if (!isServiceError(error)) return undefined;
  const [bytes] = error.metadata.get("grpc-status-details-bin");
  return bytes instanceof Buffer ? fromBinary(StatusSchema, bytes) : undefined;
}

function detailsOf(status: Status): ErrorDetails | undefined {
  const info = find(status, ErrorInfoSchema);
  if (info === undefined) return undefined;
  const retryDelay = find(status, RetryInfoSchema)?.retryDelay;
  return {
    reason: (info.domain === DOMAIN ? REASONS.get(info.reason) : undefined) ?? ErrorReason.UNSPECIFIED,
    domain: info.domain,
    violations: (find(status, BadRequestSchema)?.fieldViolations ?? []).map(({ field, description }) => ({ field, description })),
    retryDelayMs: retryDelay && milliseconds(retryDelay),
  };
}

function find<S extends DescMessage>(status: Status, schema: S): MessageShape<S> | undefined {
  return status.details.map((detail) => anyUnpack(detail, schema)).find((detail) => detail !== undefined);
}

function milliseconds(duration: Duration): number {
  return Number(duration.seconds) * 1000 + duration.nanos / 1e6;
}
