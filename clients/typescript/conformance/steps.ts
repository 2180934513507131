/** One step of a case, carried out. */

import { setTimeout as pause } from "node:timers/promises";
import { createRegistry, type DescMessage, fromJson, type JsonValue, type Message, type MessageShape, toJson } from "@bufbuild/protobuf";
import {
  BanditService,
  type CallOptions,
  type Client,
  Code,
  errorDetails,
  ErrorReasonSchema,
  isServiceError,
  Metadata,
  PolicyService,
  ScoreStreamRequestSchema,
  ScoreStreamResponseSchema,
} from "../src/index.js";
import { file_google_rpc_error_details } from "../src/gen/google/rpc/error_details_pb.js";
import { type Outcome, RunnerError, type Step } from "./run_file.js";
import { at, filled, type Saved } from "./saved.js";

const METHODS = new Map([...BanditService.methods, ...PolicyService.methods].map((method) => [method.name, method]));
/** Knows the details of the errors in a batch's results. */
const registry = createRegistry(file_google_rpc_error_details);

type Unary = (request: Message, options: CallOptions) => Promise<Message>;

/** Carries a step out; fails with RunnerError alone. */
export async function carryOut(client: Client, step: Step, saved: Saved): Promise<Outcome> {
  if (step.wait_ms !== undefined) {
    await pause(step.wait_ms);
    return { code: "OK" };
  }
  return step.call === "ScoreStream" ? stream(client, step, saved) : unary(client, step, saved);
}

/** A failure as the harness wants to hear of it. */
export function failed(error: unknown): Outcome {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof RunnerError) return { code: "RUNNER", message };
  if (!isServiceError(error)) return { code: "LOCAL", message };
  const details = errorDetails(error);
  return {
    code: Code[error.code],
    message: error.details,
    ...(details && {
      reason: ErrorReasonSchema.value[details.reason]?.name,
      domain: details.domain,
      violations: details.violations.length > 0 ? details.violations : undefined,
      retry_delay_ms: details.retryDelayMs,
    }),
  };
}

async function unary(client: Client, step: Step, saved: Saved): Promise<Outcome> {
  const method = METHODS.get(step.call ?? "");
  if (method === undefined) throw new RunnerError(`there is no method ${step.call}`);
  const request = parsed(method.input, step.request ?? {}, saved);
  const canceller = new AbortController();
  const answer = (client[method.localName as keyof Client] as Unary).call(client, request, options(step, canceller.signal));
  if (step.cancel_at_once === true) canceller.abort();
  const response = shown(method.output, await answer);
  for (const [name, path] of Object.entries(step.save ?? {})) saved.set(name, at(path, response));
  return { code: "OK", response };
}

async function stream(client: Client, step: Step, saved: Saved): Promise<Outcome> {
  const requests = (step.requests ?? []).map((request) => parsed(ScoreStreamRequestSchema, request, saved));
  const canceller = new AbortController();
  const { signal } = canceller;
  const left = async function* (): AsyncGenerator<(typeof requests)[number]> {
    yield* requests;
    // The call is to be cancelled while it is open for more.
    if (step.cancel_after !== undefined && !signal.aborted) await new Promise((over) => signal.addEventListener("abort", over));
  };
  const responses: JsonValue[] = [];
  if (step.cancel_at_once === true || step.cancel_after === 0) canceller.abort();
  try {
    for await (const response of client.scoreStream(left(), options(step, signal))) {
      responses.push(shown(ScoreStreamResponseSchema, response));
      if (responses.length === step.cancel_after) canceller.abort();
    }
  } catch (error) {
    return { ...failed(error), responses };
  }
  for (const [name, path] of Object.entries(step.save ?? {})) saved.set(name, at(path, responses));
  return { code: "OK", responses };
}

function options(step: Step, signal: AbortSignal): CallOptions {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(step.metadata ?? {})) metadata.set(name, value);
  return { metadata, signal, deadlineMs: step.deadline_ms };
}

function parsed<S extends DescMessage>(schema: S, request: JsonValue, saved: Saved): MessageShape<S> {
  return fromJson(schema, filled(request, saved), { registry });
}

function shown<S extends DescMessage>(schema: S, response: MessageShape<S>): JsonValue {
  return toJson(schema, response, { registry });
}
