import { sizeOf } from "../shape.ts";
import { deviceBytes } from "../types.ts";
import type { Instruction, Kernel, Plan } from "./plan.ts";

/** What a kernel must at least move between memory and processor, and the arithmetic it does. */
export interface Cost {
  /** Each buffer it reads or writes, once, as far as it is seen. */
  readonly bytes: number;
  /** A multiply-add counts as two; an elementary function as one. */
  readonly flops: number;
}

export function costOf(kernel: Kernel, plan: Plan): Cost {
  const touched = new Map<number, number>();
  const touch = (buffer: number, elements: number): void => {
    const { size, dtype } = plan.buffers[buffer];
    touched.set(buffer, Math.max(touched.get(buffer) ?? 0, Math.min(size, elements) * deviceBytes(dtype)));
  };
  const read = (body: readonly Instruction[], points: number): number => {
    for (const i of body) if (i.op === "load" || i.op === "gather") touch(i.buffer, points);
    return body.filter((i) => i.op === "map").length * points;
  };
  let flops = 0;
  if (kernel.kind === "loop") {
    const outer = sizeOf(kernel.outer);
    const all = outer * sizeOf(kernel.row);
    for (const stage of kernel.stages) {
      const points = stage.kind === "map" && stage.over === "outer" ? outer : all;
      flops += read(stage.body, points) + (stage.kind === "reduce" ? points : 0);
      if (stage.kind === "map") for (const { buffer } of stage.stores) touch(buffer, points);
    }
  } else {
    for (const { buffer } of kernel.operands) touch(buffer, Infinity);
    const size = sizeOf(kernel.shape);
    flops += read(kernel.epilogue.body, size) + multiplications(kernel) * 2;
    for (const { buffer } of kernel.epilogue.stores) touch(buffer, size);
  }
  return { bytes: [...touched.values()].reduce((a, b) => a + b, 0), flops };
}

/** Products that a matrix product adds up. Rows past a grouped product's last offset are counted: their number is data. */
function multiplications(kernel: Extract<Kernel, { kind: "routine" }>): number {
  const [lhs] = kernel.operands;
  const rows = kernel.rows?.shape[0] ?? lhs?.shape[0];
  if (kernel.op === "matmul") return sizeOf(kernel.shape) * lhs.shape[lhs.shape.length - 1];
  if (kernel.op !== "groupedMatmul") return 0;
  return rows * lhs.shape[1] * kernel.shape[kernel.shape.length - 1];
}
