import { ConfigError } from "./errors.ts";

/** Where a node came from. Plain data, never a reference to a node, so that it keeps nothing alive. */
export interface Provenance {
  /** The `scope` path the node was written in, such as `layers.1/moe`. */
  readonly scope: string;
  /** For a node made by a gradient rule: the forward op it differentiates. */
  readonly rule?: { readonly op: string; readonly id: number; readonly scope: string; readonly line?: string };
  /** In debug, the line of user code. */
  readonly line?: string;
}

const outside: Provenance = { scope: "" };
let current: Provenance = outside;
let debugLines = false;

/** In debug, nodes remember the user's line. */
export function setDebugLines(on: boolean): void {
  debugLines = on;
}

let originalLocation = (location: string): string => location;

/** Lets lines be those of sources. Loaded in debug alone: a page that does not ask for it does not carry it. */
export async function honourSourceMaps(): Promise<void> {
  ({ originalLocation } = await import("./sourceMap.ts"));
}

/** Whether a device was started with `debug`. */
export const debugging = (): boolean => debugLines;

export function currentProvenance(): Provenance {
  return debugLines && !current.rule ? { ...current, line: userLine() } : current;
}

/** Runs `fn` with nodes attributed to `provenance`. */
export function withProvenance<T>(provenance: Provenance, fn: () => T): T {
  const before = current;
  current = provenance;
  try {
    return fn();
  } finally {
    current = before;
  }
}

/**
 * Names the part of a model that `fn` writes: nodes made inside carry the path of names.
 *
 * @throws {ConfigError} if `fn` is async: a scope ends when `fn` returns, so what an async function makes later would lose it.
 */
export function scope<T>(name: string, fn: () => T): T {
  const path = current.scope === "" ? name : `${current.scope}/${name}`;
  const result = withProvenance({ ...current, scope: path }, fn);
  if (result instanceof Promise) {
    throw new ConfigError(
      `scope: "${name}" was given an async function; scope the synchronous parts inside it instead`,
    );
  }
  return result;
}

/** Deeper than V8's 10: a model calls layers that call functions, before the user's own frame comes. */
const deepStack = 100;

function stackFrames(): string[] {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = deepStack;
  const { stack = "" } = new Error();
  Error.stackTraceLimit = limit;
  return stack.split("\n").slice(1);
}

/** In debug, the first stack frame outside the framework, as `file.ts:41:7`, in the source where there is a source map. */
export function userLine(): string | undefined {
  if (!debugLines) return undefined;
  for (const frame of stackFrames()) {
    if (/[\\/]packages[\\/](tensor|autograd|moe)[\\/](src|dist)[\\/]/.test(frame)) continue;
    if (/@switchyard[\\/](tensor|autograd|moe)[\\/]/.test(frame) || frame.includes("node:")) continue;
    const location = /\(?([^\s()]+:\d+:\d+)\)?$/.exec(frame)?.[1];
    if (location) return originalLocation(location.replace(/^file:\/\//, ""));
  }
  return undefined;
}
