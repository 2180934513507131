/** The file that tells a runner what to do. */

import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import type { ErrorDetails } from "../src/index.js";

export interface RunFile {
  readonly targets: Readonly<Record<string, Target>>;
  readonly cases: readonly Case[];
}

export interface Target {
  readonly address: string;
  readonly ca_file?: string;
  readonly cert_file?: string;
  readonly key_file?: string;
  readonly api_key?: string;
}

export interface Case {
  readonly name: string;
  readonly target: string;
  readonly client?: {
    readonly channels?: number;
    readonly retry?: boolean;
    readonly keepalive_ms?: number;
    readonly keepalive_timeout_ms?: number;
    readonly api_key?: string;
  };
  readonly steps: readonly Step[];
}

export interface Step {
  readonly wait_ms?: number;
  readonly call?: string;
  readonly request?: JsonObject;
  readonly requests?: readonly JsonObject[];
  readonly deadline_ms?: number;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly save?: Readonly<Record<string, string>>;
  readonly cancel_after?: number;
  readonly cancel_at_once?: boolean;
}

/** What became of a step; a line of the runner's output holds one. */
export interface Outcome {
  readonly code: string;
  readonly message?: string;
  readonly reason?: string | undefined;
  readonly domain?: string;
  readonly violations?: ErrorDetails["violations"] | undefined;
  readonly retry_delay_ms?: number | undefined;
  readonly response?: JsonValue;
  readonly responses?: readonly JsonValue[];
}

/** The runner cannot do what a step asks for. */
export class RunnerError extends Error {}
