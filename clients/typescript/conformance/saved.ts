/** What the steps of a case hand on to later ones. */

import type { JsonValue } from "@bufbuild/protobuf";
import { RunnerError } from "./run_file.js";

export type Saved = Map<string, string>;

/** The value with `${name}` replaced by what was saved under that name, in every string and every key. */
export function filled<T extends JsonValue>(value: T, saved: Saved): T;
export function filled(value: JsonValue, saved: Saved): JsonValue {
  if (typeof value === "string") return filledText(value, saved);
  if (Array.isArray(value)) return value.map((item) => filled(item, saved));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [filledText(key, saved), filled(item, saved)]));
}

/** The value at a dotted path, such as `results.0.response.decisionId`, as text. */
export function at(path: string, value: JsonValue): string {
  let found: JsonValue | undefined = value;
  for (const name of path.split(".")) {
    found = typeof found === "object" && found !== null ? (found as Record<string, JsonValue>)[name] : undefined;
  }
  if (found === undefined || typeof found === "object") throw new RunnerError(`the response has no single value at ${path}`);
  return String(found);
}

function filledText(text: string, saved: Saved): string {
  return text.replace(/\$\{(\w+)\}/g, (_, name: string) => {
    const value = saved.get(name);
    if (value === undefined) throw new RunnerError(`no earlier step saved ${name}`);
    return value;
  });
}
