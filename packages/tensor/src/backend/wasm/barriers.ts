import type { Kernel } from "../../schedule/plan.ts";
import { sizeOf } from "../../shape.ts";

/** A stretch of memory: a piece of the arena, or an allocation that only places with the same `owner` share. */
export interface Place {
  readonly owner: number | "arena";
  readonly from: number;
  readonly until: number;
}

/** Whether two places have bytes in common. */
const meets = (a: Place, b: Place): boolean => a.owner === b.owner && a.from < b.until && b.from < a.until;

const meetsAny = (place: Place, others: Iterable<Place>): boolean => {
  for (const other of others) if (meets(place, other)) return true;
  return false;
};

/** What the steps since the last barrier touch. */
interface Touched {
  readonly reads: Set<Place>;
  readonly writes: Set<Place>;
}

/**
 * Decides step by step whether all earlier steps must be finished first. A step may join those since the last barrier if it writes
 * nothing that they touch and reads nothing that they write. Narrow steps all run on one thread, so among each other they are in
 * order anyway.
 */
export function createBarriers(): (reads: readonly Place[], writes: readonly Place[], narrow: boolean) => boolean {
  const nothing = (): Touched => ({ reads: new Set(), writes: new Set() });
  let [wide, thin] = [nothing(), nothing()];
  return (reads, writes, narrow) => {
    const depends = (narrow ? [wide] : [wide, thin]).some(
      (since) =>
        reads.some((place) => meetsAny(place, since.writes)) ||
        writes.some((place) => meetsAny(place, since.writes) || meetsAny(place, since.reads)),
    );
    if (depends) [wide, thin] = [nothing(), nothing()];
    const mine = narrow ? thin : wide;
    for (const place of reads) mine.reads.add(place);
    for (const place of writes) mine.writes.add(place);
    return depends;
  };
}

/** About how many nanoseconds one thread needs: enough to tell what is not worth waking workers for. */
export function workOf(kernel: Kernel): number {
  if (kernel.kind === "loop") {
    const points = sizeOf(kernel.outer) * sizeOf(kernel.row);
    return points * kernel.stages.reduce((sum, { body }) => sum + body.length, 0);
  }
  const elements = kernel.operands.reduce((sum, { shape }) => sum + sizeOf(shape), sizeOf(kernel.shape));
  switch (kernel.op) {
    case "matmul":
    case "groupedMatmul":
      return elements + (sizeOf(kernel.shape) * contracted(kernel)) / 10;
    case "argsort":
    case "topK":
      return elements * 20;
    case "assign":
      return elements * 40;
    case "scan":
    case "argReduce":
    case "scatter":
    case "randomBits":
      return elements * 3;
  }
}

/** Products per element of the result. A contracting group's rows are its share of all rows. */
function contracted({ op, attrs, operands }: Extract<Kernel, { op: "matmul" | "groupedMatmul" }>): number {
  const [lhs, , offsets] = operands;
  if (op === "groupedMatmul" && "mode" in attrs && attrs.mode === "contract")
    return lhs.shape[0] / Math.max(1, sizeOf(offsets.shape) - 1);
  return lhs.shape[lhs.shape.length - 1];
}
