import assert from "node:assert/strict";
import { test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { Metadata } from "@grpc/grpc-js";
import { Code, ListPoliciesResponseSchema, RewardResponseSchema, RewardStatus } from "../src/index.js";
import { connected, serving } from "./server.js";

const NOTHING = create(ListPoliciesResponseSchema);

test("a call sends the fields it is given and gives back a message", async (t) => {
  const sent: unknown[] = [];
  const target = await serving(t, {
    reward: (call, answer) => {
      sent.push(call.request.decisionId, call.request.result);
      answer(null, create(RewardResponseSchema, { status: RewardStatus.APPLIED, value: 1 }));
    },
  });
  const { status, value } = await connected(t, target).reward({ decisionId: "d", result: { case: "outcome", value: "done" } });
  assert.deepEqual(sent, ["d", { case: "outcome", value: "done" }]);
  assert.deepEqual({ status, value }, { status: RewardStatus.APPLIED, value: 1 });
});

test("a request that cannot be encoded is the caller's mistake, and is not sent", async (t) => {
  const target = await serving(t, { score: () => assert.fail("it was sent") });
  const request = { policy: "p", utcOffset: { nanos: 2 ** 31 } };
  await assert.rejects(connected(t, target).score(request), (error: Error) => !("code" in error) && /nanos.*int32/.test(error.message));
});

test("a call takes 500 ms at most unless the client or the call says otherwise", async (t) => {
  const left: number[] = [];
  const target = await serving(t, {
    listPolicies: (call, answer) => {
      left.push(Number(call.getDeadline()) - Date.now());
      answer(null, NOTHING);
    },
  });
  await connected(t, target).listPolicies();
  await connected(t, target, { deadlineMs: 60_000 }).listPolicies();
  await connected(t, target).listPolicies({}, { deadlineMs: 90_000 });
  assert.deepEqual(left.map((ms) => ms > 0 && [500, 60_000, 90_000].find((most) => ms <= most)), [500, 60_000, 90_000]);
});

test("a call that gets no answer ends with its deadline", async (t) => {
  const target = await serving(t, { listPolicies: () => undefined });
  await assert.rejects(connected(t, target).listPolicies({}, { deadlineMs: 20 }), { code: Code.DEADLINE_EXCEEDED });
});

test("a signal cancels a call under way, and one that was raised before", async (t) => {
  const canceller = new AbortController();
  const target = await serving(t, { listPolicies: () => canceller.abort() });
  const client = connected(t, target, { deadlineMs: 60_000 });
  await assert.rejects(client.listPolicies({}, { signal: canceller.signal }), { code: Code.CANCELLED });
  await assert.rejects(client.listPolicies({}, { signal: canceller.signal }), { code: Code.CANCELLED });
});

test("metadata of a call is sent, and stays as it was", async (t) => {
  const seen: unknown[] = [];
  const target = await serving(t, {
    listPolicies: (call, answer) => {
      seen.push(call.metadata.get("trace"), call.metadata.get("authorization"));
      answer(null, NOTHING);
    },
  });
  const metadata = new Metadata();
  metadata.set("trace", "t1");
  await connected(t, target, { apiKey: "k1" }).listPolicies({}, { metadata });
  assert.deepEqual(seen, [["t1"], ["Bearer k1"]]);
  assert.deepEqual(metadata.getMap(), { trace: "t1" });
});

test("calls take the connections in turn, each its own", async (t) => {
  const peers: string[] = [];
  const target = await serving(t, {
    listPolicies: (call, answer) => {
      peers.push(call.getPeer());
      answer(null, NOTHING);
    },
  });
  const three = connected(t, target, { channels: 3 });
  for (let call = 0; call < 6; call++) await three.listPolicies();
  await connected(t, target).listPolicies();
  assert.equal(new Set(peers.slice(0, 3)).size, 3);
  assert.deepEqual(peers.slice(3, 6), peers.slice(0, 3));
  assert.ok(!peers.slice(0, 6).includes(peers[6] ?? ""), "another client has a connection of its own");
});
