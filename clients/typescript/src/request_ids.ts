import { randomUUID } from "node:crypto";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  BatchScoreRequestSchema,
  type BatchScoreRequest,
  ScoreRequestSchema,
  type ScoreRequest,
  ScoreStreamRequestSchema,
  type ScoreStreamRequest,
} from "./gen/ooml/bandit/v1/bandit_pb.js";

/** The request, with a request_id: without one, a retry of it could be a second decision. The caller's object stays as it is. */
export function identified(request: MessageInitShape<typeof ScoreRequestSchema>): ScoreRequest {
  const message = create(ScoreRequestSchema, request);
  return message.requestId === "" ? { ...message, requestId: randomUUID() } : message;
}

/** The batch, each of its requests with a request_id. */
export function identifiedBatch(batch: MessageInitShape<typeof BatchScoreRequestSchema>): BatchScoreRequest {
  const message = create(BatchScoreRequestSchema, batch);
  return { ...message, requests: message.requests.map(identified) };
}

/** The requests of a stream as they come, each with a request_id. */
export async function* identifiedStream(
  requests: StreamRequests,
): AsyncGenerator<ScoreStreamRequest, void, undefined> {
  for await (const request of requests) {
    const message = create(ScoreStreamRequestSchema, request);
    yield message.request === undefined ? message : { ...message, request: identified(message.request) };
  }
}

/** What a stream is made of: a list, or requests as they come. */
export type StreamRequests =
  | Iterable<MessageInitShape<typeof ScoreStreamRequestSchema>>
  | AsyncIterable<MessageInitShape<typeof ScoreStreamRequestSchema>>;
