export { type CallOptions, Client } from "./client.js";
export { type ErrorDetails, errorDetails, isServiceError } from "./errors.js";
export type { ClientOptions, KeepaliveOptions, TlsOptions } from "./options.js";
export type { StreamRequests } from "./request_ids.js";
export * from "./gen/ooml/bandit/v1/bandit_pb.js";
export * from "./gen/ooml/bandit/v1/errors_pb.js";
export * from "./gen/ooml/bandit/v1/policy_pb.js";
export * from "./gen/google/rpc/status_pb.js";
export { Metadata, type ServiceError, status as Code } from "@grpc/grpc-js";
