import assert from "node:assert/strict";
import { test } from "node:test";
import { create, type DescMessage, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "../src/gen/google/rpc/error_details_pb.js";
import { Code, errorDetails, ErrorReason, isServiceError, Metadata, type Status, StatusSchema } from "../src/index.js";
import { connected, serving } from "./server.js";

const DOMAIN = "ooml.bandit.v1";

function status(...details: [DescMessage, MessageShape<DescMessage>][]): Status {
  return create(StatusSchema, { code: 3, details: details.map(([schema, message]) => anyPack(schema, message)) });
}

function because(reason: string, domain = DOMAIN): [DescMessage, MessageShape<DescMessage>] {
  return [ErrorInfoSchema, create(ErrorInfoSchema, { reason, domain })];
}

async function failure(t: Parameters<typeof serving>[0], trailer: Uint8Array | undefined): Promise<unknown> {
  const metadata = new Metadata();
  if (trailer !== undefined) metadata.set("grpc-status-details-bin", Buffer.from(trailer));
  const target = await serving(t, { listPolicies: (_, answer) => answer({ code: Code.INVALID_ARGUMENT, details: "no", metadata }) });
  return connected(t, target).listPolicies().then(() => assert.fail("it must fail"), (error: unknown) => error);
}

test("a failed call says its reason, its fields at fault and when to try again", async (t) => {
  const violation = { field: "candidates[3].features['price']", description: "must be a finite number, got nan" };
  const told = status(
    because("ERROR_REASON_STORE_UNAVAILABLE"),
    [BadRequestSchema, create(BadRequestSchema, { fieldViolations: [violation] })],
    [RetryInfoSchema, create(RetryInfoSchema, { retryDelay: { seconds: 1n, nanos: 500_000_000 } })],
  );
  const error = await failure(t, toBinary(StatusSchema, told));
  assert.ok(isServiceError(error));
  assert.equal(error.code, Code.INVALID_ARGUMENT);
  assert.deepEqual(errorDetails(error), {
    reason: ErrorReason.STORE_UNAVAILABLE,
    domain: DOMAIN,
    violations: [violation],
    retryDelayMs: 1500,
  });
});

test("an error inside a batch says the same", () => {
  assert.deepEqual(errorDetails(status(because("ERROR_REASON_UNKNOWN_POLICY"))), {
    reason: ErrorReason.UNKNOWN_POLICY,
    domain: DOMAIN,
    violations: [],
    retryDelayMs: undefined,
  });
});

test("a reason of another domain, or newer than this client, is none of those known", () => {
  assert.equal(errorDetails(status(because("ERROR_REASON_UNKNOWN_POLICY", "elsewhere")))?.reason, ErrorReason.UNSPECIFIED);
  assert.equal(errorDetails(status(because("ERROR_REASON_OF_TOMORROW")))?.reason, ErrorReason.UNSPECIFIED);
});

test("what says nothing gives nothing", async (t) => {
  assert.equal(errorDetails(await failure(t, undefined)), undefined);
  assert.equal(errorDetails(await failure(t, new Uint8Array([0xff, 0xff]))), undefined);
  assert.equal(errorDetails(status()), undefined);
  assert.equal(errorDetails(new Error("no")), undefined);
  assert.equal(errorDetails(undefined), undefined);
});
