import type { Operand } from "../../../schedule/plan.ts";

/** As many batch axes as the matrix kernels step through. */
export const mostBatchAxes = 3;

export interface Batch {
  readonly shape: readonly number[];
  readonly lhs: readonly number[];
  readonly rhs: readonly number[];
}

/** The batch axes of two operands with as few axes as their strides allow: neighbours that both step through evenly become one. */
export function collapseBatch(lhs: Operand, rhs: Operand): Batch {
  const axes: { extent: number; lhs: number; rhs: number }[] = [];
  lhs.shape.slice(0, -2).forEach((extent, axis) => {
    if (extent === 1) return;
    const [a, b] = [lhs.view.strides[axis], rhs.view.strides[axis]];
    const outer = axes.at(-1);
    if (outer && outer.lhs === a * extent && outer.rhs === b * extent)
      axes[axes.length - 1] = { extent: outer.extent * extent, lhs: a, rhs: b };
    else axes.push({ extent, lhs: a, rhs: b });
  });
  return { shape: axes.map((a) => a.extent), lhs: axes.map((a) => a.lhs), rhs: axes.map((a) => a.rhs) };
}
