import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { Code, ListPoliciesResponseSchema, ScoreResponseSchema } from "../src/index.js";
import { serviceConfig } from "../src/service_config.js";
import { type Answers, connected, serving } from "./server.js";

const UNAVAILABLE = { code: Code.UNAVAILABLE, details: "not now" };
const IN_TIME = { deadlineMs: 10_000 };

/** Fails so many calls; keeps the ids of all. */
function failingFirst(times: number, ids: string[]): Answers {
  return {
    score: (call, answer) => {
      ids.push(call.request.requestId);
      if (ids.length <= times) answer(UNAVAILABLE);
      else answer(null, create(ScoreResponseSchema, { decisionId: "d" }));
    },
  };
}

test("a Score is tried again while the server is unavailable, as the same request", async (t) => {
  const ids: string[] = [];
  const client = connected(t, await serving(t, failingFirst(3, ids)), IN_TIME);
  assert.equal((await client.score({ policy: "p" })).decisionId, "d");
  assert.equal(ids.length, 4);
  assert.equal(new Set(ids).size, 1);
});

test("a request of the greatest size is tried again, too", async (t) => {
  const ids: string[] = [];
  const client = connected(t, await serving(t, failingFirst(1, ids)), IN_TIME);
  const candidates = Array.from({ length: 500 }, (_, n) => ({ id: `${n}`, arm: "x".repeat(8_000) }));
  assert.equal((await client.score({ policy: "p", candidates })).decisionId, "d");
  assert.equal(ids.length, 2);
});

test("four tries are all there are", async (t) => {
  const ids: string[] = [];
  const client = connected(t, await serving(t, failingFirst(9, ids)), IN_TIME);
  await assert.rejects(client.score({ policy: "p" }), UNAVAILABLE);
  assert.equal(ids.length, 4);
});

test("a client that is told not to tries once", async (t) => {
  const ids: string[] = [];
  const client = connected(t, await serving(t, failingFirst(1, ids)), { ...IN_TIME, retry: false });
  await assert.rejects(client.score({ policy: "p" }), UNAVAILABLE);
  assert.equal(ids.length, 1);
});

test("another failure is not tried again", async (t) => {
  let calls = 0;
  const target = await serving(t, {
    listPolicies: (_, answer) => {
      calls++;
      if (calls === 1) answer({ code: Code.RESOURCE_EXHAUSTED, details: "too many" });
      else answer(null, create(ListPoliciesResponseSchema));
    },
  });
  await assert.rejects(connected(t, target, IN_TIME).listPolicies(), { code: Code.RESOURCE_EXHAUSTED });
  assert.equal(calls, 1);
});

test("what is retried is what every client retries", () => {
  const shared = new URL("../../../conformance/service_config.json", import.meta.url);
  assert.deepEqual(serviceConfig, JSON.parse(readFileSync(shared, "utf8")));
});
