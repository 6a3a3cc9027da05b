import { internal } from "../errors.ts";
import type { Spec } from "../primitives/primitive.ts";
import { sizeOf } from "../shape.ts";
import type { DType } from "../types.ts";
import { readsOf, storesOf } from "./access.ts";
import { needed } from "./body.ts";
import type { Op } from "./canonical.ts";
import type { Draft, StageDraft } from "./draft.ts";
import type { Fused } from "./fuse.ts";
import type {
  BufferSource,
  Instruction,
  Kernel,
  Plan,
  PlanBuffer,
  RoutineKernel,
  Stage,
  Store,
  Value,
} from "./plan.ts";
import type { Storage } from "../runtime/storage.ts";

export interface Outline {
  readonly fused: Fused;
  readonly leaves: readonly Storage[];
  readonly roots: readonly Op[];
  readonly numbers: readonly DType[];
  readonly donated: ReadonlySet<Storage>;
}

/** Turns drafts into a plan: drops stores that nobody reads, lays out bodies, and finds when each buffer lives and what it may reuse. */
export function finishPlan(outline: Outline): Plan {
  const { fused, roots } = outline;
  const wanted = new Set(roots.map((op) => op.leaf ?? fused.buffers.get(op)!));
  const kernels: Kernel[] = [];
  // Kernels read what earlier ones store, so from the end each knows who reads it.
  for (const draft of fused.drafts.toReversed()) {
    const kernel = kernelOf(draft, (buffer) => wanted.has(buffer));
    if (!kernel) continue;
    for (const buffer of readsOf(kernel)) wanted.add(buffer);
    kernels.push(kernel);
  }
  return assemble(kernels.reverse(), outline);
}

/** The kernel of a draft with the stores that are wanted, or undefined if none is. */
function kernelOf(draft: Draft, wanted: (buffer: number) => boolean): Kernel | undefined {
  const stores = draft.stages.map((s) => s.stores.filter((store) => wanted(store.buffer)));
  if (stores.every((s) => s.length === 0)) return undefined;
  const names = new Set(
    draft.stages.flatMap((s) => [...s.stores.map((store) => store.op), ...(s.reduce ? [s.reduce.op] : [])]),
  );
  const name = [...names]
    .map(({ node }) => (node.op === "map" ? node.attrs.fn : node.op === "reduce" ? node.attrs.op : node.op))
    .join("+");
  if (draft.routine) return routineOf(draft, name, stores[0]);
  return { kind: "loop", name, outer: draft.outer, row: draft.row, stages: stagesOf(draft.stages, stores) };
}

function routineOf(draft: Draft, name: string, stores: readonly StageDraft["stores"][number][]): Kernel {
  const { op, operands, rows } = draft.routine!;
  const { body, renumber } = compact(
    draft.stages[0].body.instructions,
    stores.map((s) => s.value),
    (i) => i,
  );
  return {
    kind: "routine",
    name,
    op: op.node.op,
    attrs: op.node.attrs,
    operands,
    rows,
    shape: op.node.shape,
    dtype: op.node.dtype,
    epilogue: { body, stores: stores.map(({ buffer, view, value }) => ({ buffer, view, value: renumber(value) })) },
  } as RoutineKernel;
}

/** The stages that still do something: maps with stores, and reduces whose results they need. */
function stagesOf(drafts: readonly StageDraft[], stores: readonly StageDraft["stores"][]): Stage[] {
  const live = new Set<number>();
  for (let i = drafts.length - 1; i >= 0; i--) {
    const { reduce, body } = drafts[i];
    if (reduce && !live.has(i)) continue;
    const values = reduce ? [reduce.value] : stores[i].map((s) => s.value);
    for (const at of needed(body.instructions, values)) {
      const instruction = body.instructions[at];
      if (instruction.op === "reduced") live.add(instruction.stage);
    }
    if (values.length > 0) live.add(i);
  }
  const order = [...live].toSorted((a, b) => a - b);
  const position = new Map(order.map((from, to) => [from, to]));
  return order.map((i): Stage => {
    const { reduce, body, over } = drafts[i];
    const values = reduce ? [reduce.value] : stores[i].map((s) => s.value);
    const compacted = compact(body.instructions, values, (at) => position.get(at)!);
    if (reduce) {
      const { node } = reduce.op;
      if (node.op !== "reduce") throw internal("a reduce stage folds a reduce");
      return {
        kind: "reduce",
        op: node.attrs.op,
        dtype: node.dtype,
        body: compacted.body,
        value: compacted.renumber(reduce.value),
      };
    }
    const kept = stores[i].map(({ buffer, view, value }) => ({ buffer, view, value: compacted.renumber(value) }));
    return { kind: "map", over, body: compacted.body, stores: kept };
  });
}

/** The instructions that values need, renumbered. */
function compact(
  instructions: readonly Instruction[],
  values: readonly Value[],
  stageAt: (stage: number) => number,
): { body: Instruction[]; renumber: (value: Value) => Value } {
  const order = [...needed(instructions, values)].toSorted((a, b) => a - b);
  const position = new Map(order.map((from, to) => [from, to]));
  const renumber = (value: Value): Value => position.get(value)!;
  const body = order.map((at): Instruction => {
    const i = instructions[at];
    if (i.op === "map") return { ...i, args: i.args.map(renumber) };
    if (i.op === "gather") return { ...i, index: renumber(i.index) };
    return i.op === "reduced" ? { ...i, stage: stageAt(i.stage) } : i;
  });
  return { body, renumber };
}

// ---- buffers ----

/** The first and the last kernel that touches a buffer. */
interface Life {
  readonly from: number;
  until: number;
}

function livesOf(kernels: readonly Kernel[]): Map<number, Life> {
  const lives = new Map<number, Life>();
  kernels.forEach((kernel, i) => {
    for (const buffer of [...readsOf(kernel), ...storesOf(kernel).map((store) => store.buffer)]) {
      const life = lives.get(buffer);
      if (life) life.until = i;
      else lives.set(buffer, { from: i, until: i });
    }
  });
  return lives;
}

function assemble(kernels: readonly Kernel[], outline: Outline): Plan {
  const { leaves, roots, numbers, fused } = outline;
  const opOf = new Map([...fused.buffers].map(([op, buffer]) => [buffer, op]));
  const rootOf = new Map(roots.map((op, i) => [op.leaf ?? fused.buffers.get(op)!, i]));
  const lives = livesOf(kernels);
  const used = [...lives.keys()].filter((buffer) => buffer >= leaves.length).toSorted((a, b) => a - b);
  const renumber = new Map(used.map((buffer, i) => [buffer, leaves.length + i]));
  const buffers: PlanBuffer[] = leaves.map((leaf, index) => ({
    dtype: leaf.dtype,
    size: sizeOf(leaf.shape),
    source: { kind: "leaf", index },
  }));
  const reuse = reuses(kernels, outline, rootOf, lives);
  for (const buffer of used) {
    const { node } = opOf.get(buffer)!;
    const { from, until } = lives.get(buffer)!;
    const root = rootOf.get(buffer);
    const source: BufferSource =
      root === undefined
        ? { kind: "temporary", from, until }
        : { kind: "root", index: root, reuses: reuse.get(buffer) };
    buffers.push({ dtype: node.dtype, size: sizeOf(node.shape), source });
  }
  const to = (buffer: number): number => renumber.get(buffer) ?? buffer;
  return withCopies({ buffers, kernels: kernels.map((k) => relabel(k, to)), numbers }, roots, (op) =>
    to(op.leaf ?? fused.buffers.get(op)!),
  );
}

/** Roots that are one op twice, or a leaf, get buffers of their own: every root is a new buffer. */
function withCopies(plan: Plan, roots: readonly Op[], bufferOf: (op: Op) => number): Plan {
  const buffers = [...plan.buffers];
  const kernels = [...plan.kernels];
  roots.forEach((op, index) => {
    const buffer = bufferOf(op);
    const { source, dtype, size } = buffers[buffer];
    if (source.kind === "root" && source.index === index) return;
    const copy = buffers.push({ dtype, size, source: { kind: "root", index } }) - 1;
    const view = { offset: 0, strides: [1] };
    const body: Instruction[] = [{ op: "load", buffer, view, dtype }];
    kernels.push({
      kind: "loop",
      name: "copy",
      outer: [size],
      row: [],
      stages: [{ kind: "map", over: "outer", body, stores: [{ buffer: copy, view, value: 0 }] }],
    });
  });
  return { ...plan, buffers, kernels };
}

function relabel(kernel: Kernel, to: (buffer: number) => number): Kernel {
  const body = (instructions: readonly Instruction[]): Instruction[] =>
    instructions.map((i) => (i.op === "load" || i.op === "gather" ? { ...i, buffer: to(i.buffer) } : i));
  const stores = (list: readonly Store[]): Store[] => list.map((s) => ({ ...s, buffer: to(s.buffer) }));
  if (kernel.kind === "loop") {
    const stages = kernel.stages.map((s): Stage =>
      s.kind === "map" ? { ...s, body: body(s.body), stores: stores(s.stores) } : { ...s, body: body(s.body) },
    );
    return { ...kernel, stages };
  }
  return {
    ...kernel,
    operands: kernel.operands.map((o) => ({ ...o, buffer: to(o.buffer) })),
    rows: kernel.rows && { ...kernel.rows, buffer: to(kernel.rows.buffer) },
    epilogue: { body: body(kernel.epilogue.body), stores: stores(kernel.epilogue.stores) },
  } as RoutineKernel;
}

/** For each root's buffer, the donated leaf it may be written over: one that nobody reads once the first store is made. */
function reuses(
  kernels: readonly Kernel[],
  { leaves, donated, roots }: Outline,
  rootOf: ReadonlyMap<number, number>,
  lives: ReadonlyMap<number, Life>,
): Map<number, number> {
  const free = new Map<string, number[]>();
  const kept = new Set(roots.map((op) => op.leaf));
  leaves.forEach((leaf, i) => {
    if (!donated.has(leaf) || kept.has(i)) return;
    const alike = free.get(kindOf(leaf));
    if (alike) alike.push(i);
    else free.set(kindOf(leaf), [i]);
  });
  const reuse = new Map<number, number>();
  kernels.forEach((kernel, i) => {
    for (const store of storesOf(kernel)) {
      const root = rootOf.get(store.buffer);
      if (root === undefined || lives.get(store.buffer)!.from < i) continue;
      const alike = free.get(kindOf(roots[root].node)) ?? [];
      const at = alike.findIndex((leaf) => {
        const last = lives.get(leaf)?.until ?? -1;
        return last < i || (last === i && readsInPlace(kernel, store, leaf));
      });
      if (at >= 0) reuse.set(store.buffer, alike.splice(at, 1)[0]);
    }
  });
  return reuse;
}

/** Equal for arrays that fit each other's place. */
const kindOf = ({ dtype, shape }: Spec): string => `${dtype} ${sizeOf(shape)}`;

/** Whether a kernel reads `leaf` only at the index that `store` writes, and never after it has been written. */
function readsInPlace(kernel: Kernel, store: Store, leaf: number): boolean {
  const view = JSON.stringify(store.view);
  const inPlace = (body: readonly Instruction[]): boolean =>
    body.every(
      (i) =>
        (i.op !== "load" && i.op !== "gather") ||
        i.buffer !== leaf ||
        (i.op === "load" && JSON.stringify(i.view) === view),
    );
  if (kernel.kind === "routine") {
    return (
      !kernel.operands.some((o) => o.buffer === leaf) && kernel.rows?.buffer !== leaf && inPlace(kernel.epilogue.body)
    );
  }
  const writes = kernel.stages.findIndex((s) => s.kind === "map" && s.stores.includes(store));
  return kernel.stages.every((s, i) => {
    const reads = s.body.some((x) => (x.op === "load" || x.op === "gather") && x.buffer === leaf);
    return !reads || (i <= writes && overOf(s) === overOf(kernel.stages[writes]) && inPlace(s.body));
  });
}

const overOf = (s: Stage): "row" | "outer" => (s.kind === "reduce" ? "row" : s.over);
