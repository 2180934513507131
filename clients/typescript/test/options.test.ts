import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import { Client } from "../src/index.js";
import { channelOptions } from "../src/options.js";

const KEY = "ooml_not-a-real-key";

for (const target of [
  "ooml.example:443",
  "10.0.0.7:50051",
  "[::2]:50051",
  "127.0.0.1.example:50051",
  "dns://10.0.0.7/localhost:50051",
  "ipv4:127.0.0.1:50051,10.0.0.7:50051",
]) {
  test(`a key does not travel to ${target} in clear text`, () => {
    assert.throws(
      () => new Client(target, { apiKey: KEY }),
      (error: Error) => /set tls, or use a loopback address/.test(error.message) && !error.message.includes(KEY),
    );
    new Client(target, { apiKey: KEY, tls: true }).close();
    new Client(target).close();
  });
}

for (const target of ["127.0.0.1:50051", "127.9.9.9:1", "localhost:50051", "[::1]:50051", "dns:///localhost:50051", "unix:/run/ooml.sock"]) {
  test(`a key may travel to ${target}, which is this machine, and through no proxy`, () => {
    new Client(target, { apiKey: KEY }).close();
    assert.equal(channelOptions(target, {})["grpc.enable_http_proxy"], 0);
  });
}

test("a key that no header can carry is refused, and not repeated", () => {
  assert.throws(
    () => new Client("localhost:50051", { apiKey: `${KEY}\n` }),
    (error: Error) => /line end/.test(error.message) && !error.message.includes(KEY),
  );
});

test("a client shows no key", () => {
  const client = new Client("localhost:50051", { apiKey: KEY });
  assert.ok(!inspect(client, { depth: Infinity, showHidden: true }).includes(KEY));
  assert.ok(!JSON.stringify(client).includes(KEY));
  assert.ok(!String(client).includes(KEY));
  client.close();
});

test("a connection is pinged every 30 s, also between calls, unless it is said otherwise", () => {
  const keepalive = (options = {}): unknown[] => {
    const settings = channelOptions("localhost:50051", options);
    return ["time_ms", "timeout_ms", "permit_without_calls"].map((name) => settings[`grpc.keepalive_${name}`]);
  };
  assert.deepEqual(keepalive(), [30_000, 10_000, 1]);
  assert.deepEqual(keepalive({ keepalive: { intervalMs: 15_000, timeoutMs: 2_000 } }), [15_000, 2_000, 1]);
});

test("numbers that cannot be are refused", () => {
  assert.throws(() => new Client("localhost:1", { channels: 0 }), /channels is 0: give a whole number of at least 1/);
  assert.throws(() => new Client("localhost:1", { deadlineMs: 0.5 }), /deadlineMs is 0.5/);
});

test("a certificate file that is not there is named", () => {
  assert.throws(() => new Client("ooml.example:443", { tls: { caFile: "/nowhere/ca.pem" } }), /\/nowhere\/ca\.pem/);
});
