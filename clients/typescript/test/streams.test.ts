import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { Code, type ScoreStreamRequest, ScoreStreamResponseSchema } from "../src/index.js";
import { type Answers, connected, serving } from "./server.js";

/** Answers each request with its sequence, and ends when the caller has. */
const echo: Answers = {
  scoreStream: (call) => {
    call.on("data", ({ sequence }: ScoreStreamRequest) => call.write(create(ScoreStreamResponseSchema, { sequence })));
    call.on("end", () => call.end());
  },
};

/** One request at each turn of the event loop, for ever. */
async function* endless(): AsyncGenerator<{ sequence: bigint }> {
  for (let sequence = 0n; ; sequence++) {
    yield { sequence };
    await setImmediate();
  }
}

test("a stream gives every reply, and ends with its requests", async (t) => {
  const client = connected(t, await serving(t, echo));
  const got: bigint[] = [];
  for await (const { sequence } of client.scoreStream([{ sequence: 1n }, { sequence: 2n ** 64n - 1n }])) got.push(sequence);
  assert.deepEqual(got, [1n, 2n ** 64n - 1n]);
});

test("leaving the loop cancels the stream, and its requests are asked for no more", async (t) => {
  let cancelled: () => void = () => undefined;
  const ended = new Promise<void>((resolve) => (cancelled = resolve));
  const target = await serving(t, {
    scoreStream: (call, answer) => {
      call.on("cancelled", cancelled);
      echo["scoreStream"]?.(call, answer);
    },
  });
  let closed = false;
  const requests = (async function* () {
    try {
      yield* endless();
    } finally {
      closed = true;
    }
  })();
  for await (const { sequence } of connected(t, target).scoreStream(requests)) if (sequence === 3n) break;
  await ended;
  assert.ok(closed);
});

test("a signal ends a stream that still waits for requests", async (t) => {
  const client = connected(t, await serving(t, echo));
  const canceller = new AbortController();
  const loop = async (): Promise<void> => {
    for await (const { sequence } of client.scoreStream(endless(), { signal: canceller.signal })) if (sequence === 3n) canceller.abort();
  };
  await assert.rejects(loop, { code: Code.CANCELLED });
});

test("what the requests fail with is what the loop fails with", async (t) => {
  const client = connected(t, await serving(t, echo));
  const requests = (async function* () {
    yield { sequence: 1n };
    throw new RangeError("no more of them");
  })();
  await assert.rejects(async () => {
    for await (const _ of client.scoreStream(requests));
  }, new RangeError("no more of them"));
});

test("a stream that fails is not tried again", async (t) => {
  let calls = 0;
  const target = await serving(t, {
    scoreStream: (call) => {
      calls++;
      call.emit("error", { code: Code.UNAVAILABLE, details: "not now" });
    },
  });
  await assert.rejects(async () => {
    for await (const _ of connected(t, target).scoreStream([{ sequence: 1n }]));
  }, { code: Code.UNAVAILABLE });
  assert.equal(calls, 1);
});

test("a stream outlives the client's deadline, and ends with its own", async (t) => {
  const client = connected(t, await serving(t, echo), { deadlineMs: 1 });
  const deadlines: (Date | number)[] = [];
  const target = await serving(t, {
    scoreStream: (call) => {
      deadlines.push(call.getDeadline());
      call.end();
    },
  });
  for await (const _ of connected(t, target, { deadlineMs: 1 }).scoreStream([]));
  assert.deepEqual(deadlines, [Infinity]);
  await assert.rejects(async () => {
    for await (const _ of client.scoreStream(endless(), { deadlineMs: 30 }));
  }, { code: Code.DEADLINE_EXCEEDED });
});
