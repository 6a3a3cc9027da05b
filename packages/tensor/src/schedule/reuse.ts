/** Finds what several stages of a row kernel compute alike, so that the later ones can read it back from scratch memory. */
import type { ScalarOp } from "../scalar.ts";
import type { DType } from "../types.ts";
import type { Instruction, LoopKernel, Value } from "./plan.ts";

/** What an op costs, in additions. */
type Cost = (fn: ScalarOp, dtype: DType) => number;

/** By stage: which values to keep, and which not to compute because an earlier stage kept them; each with its row of the cache. */
export interface Reuse {
  readonly rows: number;
  readonly keeps: readonly ReadonlyMap<Value, number>[];
  readonly cached: readonly ReadonlyMap<Value, number>[];
}

/** Reading a value back is worth this many additions. */
const WORTHWHILE = 12;

export const noReuse = (kernel: LoopKernel): Reuse => ({
  rows: 0,
  keeps: kernel.stages.map(() => new Map()),
  cached: kernel.stages.map(() => new Map()),
});

/** Expensive values that a later stage over the same row needs again. */
export function findReuse(kernel: LoopKernel, costOf: Cost): Reuse {
  const numbering = new Map<string, number>();
  const first = new Map<number, { stage: number; value: Value }>();
  const keeps = kernel.stages.map(() => new Map<Value, number>());
  const cached = kernel.stages.map(() => new Map<Value, number>());
  let rows = 0;
  kernel.stages.forEach((stage, index) => {
    if (stage.kind === "map" && stage.over === "outer") return;
    const names = numberValues(stage.body, numbering);
    const visit = (value: Value): void => {
      const origin = first.get(names[value]);
      if (origin && costToCompute(stage.body, value, costOf) >= WORTHWHILE) {
        const kept = keeps[origin.stage];
        if (!kept.has(origin.value)) kept.set(origin.value, rows++);
        cached[index].set(value, kept.get(origin.value)!);
      } else operandsOf(stage.body[value]).forEach(visit);
    };
    const roots = stage.kind === "reduce" ? [stage.value] : stage.stores.map((store) => store.value);
    roots.forEach(visit);
    names.forEach((name, value) => {
      if (!first.has(name)) first.set(name, { stage: index, value });
    });
  });
  return { rows, keeps, cached };
}

export function operandsOf(step: Instruction): readonly Value[] {
  return step.op === "map" ? step.args : step.op === "gather" ? [step.index] : [];
}

/** Numbers a body's values; equal values of all bodies that share a numbering get one number. */
export function numberValues(body: readonly Instruction[], numbering: Map<string, number>): number[] {
  const names: number[] = [];
  for (const step of body) {
    const operands = operandsOf(step).map((value) => names[value]);
    const key = JSON.stringify({ ...step, ...(step.op === "map" ? { args: operands } : { index: operands[0] }) });
    if (!numbering.has(key)) numbering.set(key, numbering.size);
    names.push(numbering.get(key)!);
  }
  return names;
}

/** Additions that the value costs, everything below it included. */
function costToCompute(body: readonly Instruction[], value: Value, costOf: Cost): number {
  const seen = new Set<Value>();
  let cost = 0;
  const visit = (at: Value): void => {
    if (seen.has(at)) return;
    seen.add(at);
    const step = body[at];
    if (step.op === "map") cost += costOf(step.fn, body[step.args[0]].dtype);
    operandsOf(step).forEach(visit);
  };
  visit(value);
  return cost;
}
