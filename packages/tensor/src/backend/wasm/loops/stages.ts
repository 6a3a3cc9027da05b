/** The stages of a nest: instructions with their views and numbers turned into accesses and slots. */
import { internal } from "../../../errors.ts";
import type { Instruction, LoopKernel, Stage, Store, Value } from "../../../schedule/plan.ts";
import { deviceBytes } from "../../../types.ts";
import type { AccessTable, Words } from "./accesses.ts";
import type { NestStage, Step } from "./nest.ts";
import { operandsOf, type Reuse } from "../../../schedule/reuse.ts";

interface Builder {
  readonly views: AccessTable;
  readonly words: Words;
  /** By stage of the kernel: its number in the nest. */
  readonly numbers: number[];
}

/** What a stage computes and what it reads back instead. */
interface Plot {
  readonly stage: Stage;
  readonly unroll: number;
  readonly keeps: ReadonlyMap<Value, number>;
  readonly cached: ReadonlyMap<Value, number>;
}

const nothing: ReadonlyMap<Value, number> = new Map();

/**
 * Builds a kernel's stages. A reduction that keeps values for later ones is split: values first, then their reduction. Only code that
 * stores is fused into 256-bit operations by engines that can, and what is expensive is in the values.
 */
export function buildStages(
  kernel: LoopKernel,
  reuse: Reuse,
  views: AccessTable,
  words: Words,
  unroll: (stage: Stage) => number,
): NestStage[] {
  const builder: Builder = { views, words, numbers: [] };
  const stages: NestStage[] = [];
  kernel.stages.forEach((stage, i) => {
    const plot: Plot = { stage, unroll: unroll(stage), keeps: reuse.keeps[i], cached: reuse.cached[i] };
    if (stage.kind === "reduce" && plot.keeps.size > 0) {
      const values: Stage = { kind: "map", over: "row", body: stage.body, stores: [] };
      stages.push(buildStage({ ...plot, stage: values }, builder));
      stages.push(buildStage({ ...plot, keeps: nothing, cached: new Map([...plot.cached, ...plot.keeps]) }, builder));
    } else stages.push(buildStage(plot, builder));
    builder.numbers.push(stages.length - 1);
  });
  return stages;
}

function buildStage(plot: Plot, builder: Builder): NestStage {
  const { stage, unroll } = plot;
  const { body, position } = buildBody(plot, builder);
  const keeps = [...plot.keeps].map(([value, row]) => ({ value: position(value), row }));
  if (stage.kind === "reduce") {
    return { kind: "reduce", op: stage.op, dtype: stage.dtype, value: position(stage.value), body, keeps, unroll };
  }
  const stores = stage.stores.flatMap((store) => buildStore(store, stage.body, builder, position));
  return { kind: "map", over: stage.over, body, keeps, stores, unroll };
}

function buildStore(store: Store, body: readonly Instruction[], builder: Builder, position: (value: Value) => number) {
  if (store.view.bounds) throw internal("a store with bounds");
  const access = builder.views.memory(store.buffer, body[store.value].dtype, store.view);
  return access === undefined ? [] : [{ access, value: position(store.value) }];
}

/** The instructions that a stage needs, in their order. */
function buildBody({ stage, keeps, cached }: Plot, builder: Builder) {
  const { body } = stage;
  const needed = new Set<Value>();
  const need = (value: Value): void => {
    if (needed.has(value)) return;
    needed.add(value);
    if (!cached.has(value)) operandsOf(body[value]).forEach(need);
  };
  if (stage.kind === "reduce") need(stage.value);
  else stage.stores.forEach((store) => need(store.value));
  for (const value of keeps.keys()) need(value);
  const steps: Step[] = [];
  const positions = new Map<Value, number>();
  const position = (value: Value): number => positions.get(value)!;
  body.forEach((instruction, value) => {
    if (!needed.has(value)) return;
    const row = cached.get(value);
    const { dtype } = instruction;
    const step: Step = row === undefined ? buildStep(instruction, position, builder) : { op: "cached", dtype, row };
    positions.set(value, steps.push(step) - 1);
  });
  return { body: steps, position };
}

function buildStep(step: Instruction, position: (value: Value) => number, { views, words, numbers }: Builder): Step {
  const { dtype } = step;
  const zero: Step = { op: "constant", dtype, value: 0 };
  switch (step.op) {
    case "load": {
      const access = views.memory(step.buffer, dtype, step.view);
      return access === undefined ? zero : { op: "load", dtype, access };
    }
    case "gather": {
      const access = step.extent > 0 ? views.memory(step.buffer, dtype, step.view) : undefined;
      if (access === undefined) return zero;
      const stride = words.int(step.stride * deviceBytes(dtype));
      return { op: "gather", dtype, access, index: position(step.index), stride, extent: words.int(step.extent) };
    }
    case "number":
      return { op: "number", dtype, slot: words.add({ kind: "number", slot: step.slot }, deviceBytes(dtype) / 4) };
    case "constant":
      return { op: "constant", dtype, value: step.value };
    case "coordinate": {
      const access = views.coordinate(step.view);
      return access === undefined ? zero : { op: "coordinate", dtype, access };
    }
    case "inside": {
      const access = views.inside(step.bounds);
      return access === undefined ? zero : { op: "inside", dtype, access };
    }
    case "map":
      return { op: "map", dtype, fn: step.fn, args: step.args.map(position) };
    case "reduced":
      return { op: "reduced", dtype, stage: numbers[step.stage] };
    case "result":
      throw internal("a routine's result in a generated kernel");
  }
}
