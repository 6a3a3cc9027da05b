import type { Instruction, Kernel, Store } from "./plan.ts";

const bodiesOf = (kernel: Kernel): (readonly Instruction[])[] =>
  kernel.kind === "routine" ? [kernel.epilogue.body] : kernel.stages.map((stage) => stage.body);

/** What a kernel writes, in order. */
export const storesOf = (kernel: Kernel): readonly Store[] =>
  kernel.kind === "routine"
    ? kernel.epilogue.stores
    : kernel.stages.flatMap((stage) => (stage.kind === "map" ? stage.stores : []));

/** The buffers that a kernel reads, each as often as it is read. */
export function readsOf(kernel: Kernel): number[] {
  const loads = bodiesOf(kernel).flatMap((body) =>
    body.flatMap((i) => (i.op === "load" || i.op === "gather" ? [i.buffer] : [])),
  );
  if (kernel.kind === "loop") return loads;
  return [...loads, ...kernel.operands.map((o) => o.buffer), ...(kernel.rows ? [kernel.rows.buffer] : [])];
}
