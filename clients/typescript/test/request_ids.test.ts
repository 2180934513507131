import assert from "node:assert/strict";
import { test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { BatchScoreRequestSchema, ScoreRequestSchema, ScoreStreamRequestSchema } from "../src/index.js";
import { identified, identifiedBatch, identifiedStream } from "../src/request_ids.js";

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

test("a Score without an id gets a random one, and the caller's stays without", () => {
  const message = create(ScoreRequestSchema, { policy: "p", candidates: [{ id: "a" }] });
  const fields = { policy: "p", candidates: [{ id: "a" }] };
  const [first, second] = [identified(message), identified(fields)];
  assert.match(first.requestId, UUID);
  assert.match(second.requestId, UUID);
  assert.notEqual(first.requestId, second.requestId);
  assert.deepEqual({ ...first, requestId: "" }, message);
  assert.equal(message.requestId, "");
  assert.deepEqual(fields, { policy: "p", candidates: [{ id: "a" }] });
});

test("an id that is given stays", () => {
  assert.equal(identified({ requestId: "mine" }).requestId, "mine");
});

test("what a message holds beyond this contract is kept", () => {
  const message = create(ScoreRequestSchema, { policy: "p" });
  message.$unknown = [{ no: 99, wireType: 0, data: new Uint8Array([1]) }];
  assert.deepEqual(identified(message).$unknown, message.$unknown);
});

test("requests of a batch get theirs, and the caller's batch stays as it was", () => {
  const batch = create(BatchScoreRequestSchema, { requests: [{ policy: "p" }, { policy: "p", requestId: "mine" }] });
  const [first, second] = identifiedBatch(batch).requests;
  assert.match(first?.requestId ?? "", UUID);
  assert.equal(second?.requestId, "mine");
  assert.deepEqual(batch.requests.map(({ requestId }) => requestId), ["", "mine"]);
});

test("requests of a stream get theirs; one that is missing stays missing", async () => {
  const message = create(ScoreStreamRequestSchema, { sequence: 1n, request: { policy: "p" } });
  const sent = [];
  for await (const request of identifiedStream([message, { sequence: 2n }])) sent.push(request);
  assert.match(sent[0]?.request?.requestId ?? "", UUID);
  assert.equal(sent[0]?.sequence, 1n);
  assert.equal(sent[1]?.request, undefined);
  assert.equal(message.request?.requestId, "");
});
