import type { PrimitiveName } from "../primitives/index.ts";

/**
 * What the scheduler does with a primitive.
 *
 * - `leaf`: a run brings its buffer.
 * - `inline`: written out in the kernels that use it, unless it is too costly to compute twice.
 * - `movement`: a view, which folds into indexing.
 * - `loop`: a generated kernel of its own, or a place in one that exists.
 * - `routine`: a kernel that each backend writes by hand.
 * - `transparent`: its first input by another name.
 * - `order`: its first input, but not before its second.
 */
export type Role = "leaf" | "inline" | "movement" | "loop" | "routine" | "transparent" | "order";

export const roles = {
  buffer: "leaf",
  transfer: "leaf",
  full: "inline",
  iota: "inline",
  map: "inline",
  gather: "inline",
  reshape: "movement",
  permute: "movement",
  expand: "movement",
  pad: "movement",
  slice: "movement",
  reduce: "loop",
  concat: "loop",
  matmul: "routine",
  groupedMatmul: "routine",
  scan: "routine",
  argReduce: "routine",
  argsort: "routine",
  topK: "routine",
  assign: "routine",
  scatter: "routine",
  randomBits: "routine",
  detach: "transparent",
  custom: "transparent",
  call: "transparent",
  tag: "transparent",
  after: "order",
} as const satisfies { [P in PrimitiveName]: Role };

/** The primitives with a role. */
export type WithRole<R extends Role> = {
  [P in PrimitiveName]: (typeof roles)[P] extends R ? P : never;
}[PrimitiveName];
