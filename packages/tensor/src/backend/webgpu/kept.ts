import type { LoopKernel, Value } from "../../schedule/plan.ts";
import { findReuse } from "../../schedule/reuse.ts";
import type { ScalarOp } from "../../scalar.ts";
import { sizeOf } from "../../shape.ts";
import type { DType } from "../../types.ts";
import type { Fours } from "./fours.ts";
import type { Lowering } from "./lower.ts";
import type { Shader } from "./shader.ts";
import { pack, unpack } from "./totals.ts";
import { heldAs } from "./wgsl.ts";

/** What walks along a row keep in memory for later walks of the same invocation. */
export interface Kept {
  /** Whether an earlier walk kept a stage's value. */
  readonly has: (stage: number, value: Value) => boolean;
  /** The expression that reads it back. */
  readonly read: (stage: number, value: Value, dtype: DType, fours?: Fours) => string;
  /** The statement that keeps a value, if a later walk reads it. */
  readonly write: (stage: number, value: Value, dtype: DType, name: string, fours?: Fours) => string | undefined;
}

const nothing: Kept = { has: () => false, read: () => "", write: () => undefined };

/** Storage buffers that every device binds. */
const leastBuffers = 8;
/** Bytes that are too many to keep. */
const mostBytes = 2 ** 26;

/**
 * On a serial adapter dear values are computed once: it has the CPU's caches, but computes like one. On hardware, memory is dearer than they are.
 *
 * @param walkOf the walk that a stage is part of.
 */
export function keptValues(
  shader: Shader,
  kernel: LoopKernel,
  walkOf: (stage: number) => number,
  lowering: Lowering,
): Kept {
  if (!lowering.limits.serial || buffersOf(kernel) >= leastBuffers) return nothing;
  const { keeps, cached } = findReuse(kernel, costOf);
  const origins = new Map(keeps.flatMap((values, stage) => [...values].map(([, row]) => [row, stage] as const)));
  const isFarther = (row: number, stage: number): boolean => walkOf(origins.get(row)!) < walkOf(stage);
  const wanted = new Set(cached.flatMap((rows, stage) => [...rows.values()].filter((row) => isFarther(row, stage))));
  const rows = [...wanted];
  const [points, length] = [sizeOf(kernel.outer), sizeOf(kernel.row)];
  const bytes = rows.length * points * length * 4;
  if (rows.length === 0 || bytes > mostBytes) return nothing;
  const buffer = lowering.scratch(bytes);
  const place = (row: number): string => {
    const first = rows.indexOf(row) * points;
    return `${first === 0 ? "o" : `(o + ${shader.uint(first)})`} * ${shader.uint(length)} + r`;
  };
  return {
    has(stage, value) {
      const row = cached[stage].get(value);
      return row !== undefined && isFarther(row, stage);
    },
    read(stage, value, dtype, fours) {
      const at = place(cached[stage].get(value)!);
      return unpack(heldAs(dtype), fours ? fours.read(buffer, "u32", at) : `${shader.write(buffer, "u32")}[${at}]`);
    },
    write(stage, value, dtype, name, fours) {
      const row = keeps[stage].get(value);
      if (row === undefined || !wanted.has(row)) return undefined;
      const words = pack(heldAs(dtype), name);
      const at = place(row);
      return fours ? fours.write(buffer, "u32", at, words) : `${shader.write(buffer, "u32")}[${at}] = ${words};`;
    },
  };
}

const buffersOf = ({ stages }: LoopKernel): number =>
  new Set(
    stages.flatMap((stage) => [
      ...stage.body.flatMap((i) => ("buffer" in i ? [i.buffer] : [])),
      ...(stage.kind === "map" ? stage.stores.map(({ buffer }) => buffer) : []),
    ]),
  ).size;

const dear: ReadonlySet<ScalarOp> = new Set<ScalarOp>([
  ...(["exp", "expm1", "log", "log1p", "sin", "cos", "tan", "tanh", "sigmoid", "softplus"] as const),
  ...(["erf", "normalCdf", "pow", "mod"] as const),
]);
/** In additions. */
const costOf = (fn: ScalarOp): number => (dear.has(fn) ? 25 : 1);
