import type { LoopKernel, Value } from "../../schedule/plan.ts";
import { findReuse } from "../../schedule/reuse.ts";
import type { ScalarOp } from "../../scalar.ts";
import { sizeOf } from "../../shape.ts";
import type { DType } from "../../types.ts";
import type { Lowering } from "./lower.ts";
import type { Shader } from "./shader.ts";
import { pack, unpack } from "./totals.ts";
import { heldAs } from "./wgsl.ts";

/** What walks along a row keep in memory for later walks of the same invocation. */
export interface Kept {
  /** The expression that reads a stage's value back, if an earlier walk kept it. */
  readonly read: (stage: number, value: Value, dtype: DType) => string | undefined;
  /** The statement that keeps it, if a later walk reads it. */
  readonly write: (stage: number, value: Value, dtype: DType, name: string) => string | undefined;
}

const nothing: Kept = { read: () => undefined, write: () => undefined };

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
  const array = shader.write(lowering.scratch(bytes), "u32");
  const place = (row: number): string => {
    const first = rows.indexOf(row) * points;
    return `${array}[(${first === 0 ? "o" : `(o + ${shader.uint(first)})`}) * ${shader.uint(length)} + r]`;
  };
  return {
    read(stage, value, dtype) {
      const row = cached[stage].get(value);
      return row !== undefined && isFarther(row, stage) ? unpack(heldAs(dtype), place(row)) : undefined;
    },
    write(stage, value, dtype, name) {
      const row = keeps[stage].get(value);
      return row !== undefined && wanted.has(row) ? `${place(row)} = ${pack(heldAs(dtype), name)};` : undefined;
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
