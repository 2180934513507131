/** Executes the cases of a run file and prints, a line a step, what became of them. It judges nothing. */

import { readFileSync } from "node:fs";
import { performance } from "node:perf_hooks";
import { Client } from "../src/index.js";
import { type Case, type Outcome, type RunFile, RunnerError, type Target } from "./run_file.js";
import type { Saved } from "./saved.js";
import { carryOut, failed } from "./steps.js";

function connected(target: Target | undefined, { name, target: targetName, client = {} }: Case): Client {
  if (target === undefined) throw new RunnerError(`case ${name}: the run file has no target ${targetName}`);
  const { address, ca_file: caFile, cert_file: certFile, key_file: keyFile } = target;
  return new Client(address, {
    channels: client.channels,
    retry: client.retry,
    apiKey: client.api_key ?? target.api_key,
    keepalive: { intervalMs: client.keepalive_ms, timeoutMs: client.keepalive_timeout_ms },
    tls: caFile !== undefined && { caFile, certFile, keyFile },
  });
}

async function execute(each: Case, targets: RunFile["targets"]): Promise<void> {
  const saved: Saved = new Map();
  const report = async (step: number, work: () => Promise<Outcome>): Promise<void> => {
    const began = performance.now();
    const outcome = await work().catch(failed);
    const ms = performance.now() - began;
    process.stdout.write(`${JSON.stringify({ case: each.name, step, ...outcome, ms })}\n`);
  };
  let client: Client;
  try {
    client = connected(targets[each.target], each);
  } catch (error) {
    for (const step of each.steps.keys()) await report(step, () => Promise.reject(error));
    return;
  }
  for (const [index, step] of each.steps.entries()) await report(index, () => carryOut(client, step, saved));
  client.close();
}

const [file] = process.argv.slice(2);
if (file === undefined) throw new Error("usage: node dist/conformance/main.js RUN_FILE");
const { cases, targets } = JSON.parse(readFileSync(file, "utf8")) as RunFile;
for (const each of cases) await execute(each, targets);
