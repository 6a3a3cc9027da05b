import { internal } from "../errors.ts";
import { sameShape, sizeOf, stridesOf } from "../shape.ts";
import type { Shape } from "../types.ts";
import { CannotJoin, NeedsBuffer, prepend, sourceView, type Path, type Reach } from "./body.ts";
import type { Op } from "./canonical.ts";
import { longestBody, points, reachOf, spaceOf, stage, type Draft, type StageDraft } from "./draft.ts";
import type { Operand, View } from "./plan.ts";
import { definitionParts, foldedRows, isDilation, isRoutine } from "./store.ts";
import { contiguous } from "./view.ts";

export interface FuseOptions {
  readonly fuse: boolean;
  readonly maxBuffers: number;
}

/** How many kernels that touch the same data an op tries to join. */
const candidates = 6;
/** A row kernel with fewer rows than this keeps long rows to itself, so that they can be cut for the threads. */
const fewRows = 32;
const longRow = 4096;

/** What fusion decides: kernels in order, and which op each buffer after the leaves' holds. */
export interface Fused {
  readonly drafts: readonly Draft[];
  readonly buffers: ReadonlyMap<Op, number>;
  /** Ops without buffers that need some, or a kernel would touch too many buffers. If there are any, the rest is not to be used. */
  readonly missing: ReadonlySet<Op>;
}

/** Puts every stored op into a kernel: one that exists where the fusion rules allow it, else one of its own. */
export function fuseOps(ops: readonly Op[], stored: ReadonlySet<Op>, leafCount: number, options: FuseOptions): Fused {
  const fuser = new Fuser(stored, leafCount, options);
  for (const op of ops) if (op.leaf === undefined && stored.has(op)) fuser.place(op);
  return fuser;
}

class Fuser implements Fused {
  readonly drafts: Draft[] = [];
  readonly buffers = new Map<Op, number>();
  readonly missing = new Set<Op>();
  readonly #stored: ReadonlySet<Op>;
  readonly #leafCount: number;
  readonly #options: FuseOptions;
  readonly #places = new Map<Op, Draft>();
  readonly #readers = new Map<number, Draft[]>();

  constructor(stored: ReadonlySet<Op>, leafCount: number, options: FuseOptions) {
    this.#stored = stored;
    this.#leafCount = leafCount;
    this.#options = options;
  }

  place(op: Op): void {
    this.buffers.set(op, this.#leafCount + this.buffers.size);
    const { node } = op;
    if (node.op === "concat") return this.#concat(op);
    if (isDilation(op)) return this.#dilate(op);
    const joined =
      this.#options.fuse && !isRoutine(op) ? this.#neighbours(op).find((draft) => this.#tryJoin(draft, op)) : undefined;
    this.#settle(op, joined ?? this.#own(op));
    if (!joined && this.#bufferCount(this.#places.get(op)!) > this.#options.maxBuffers)
      this.missing.add(this.#inlined(op));
  }

  /** Of what is written out in the kernel of `op`, the op that reads the most buffers a kernel of its own may. */
  #inlined(op: Op): Op {
    const reads = new Map<Op, Set<Op>>();
    const readsOf = (x: Op): Set<Op> => {
      let found = reads.get(x);
      if (found) return found;
      const inlined = x === op || (x.leaf === undefined && !this.#stored.has(x));
      found = inlined ? new Set(x.inputs.flatMap((input) => [...readsOf(input)])) : new Set([x]);
      reads.set(x, found);
      return found;
    };
    readsOf(op);
    let best: Op | undefined;
    for (const [x, { size }] of reads) {
      if (x === op || this.#stored.has(x) || (x.node.op !== "map" && x.node.op !== "gather")) continue;
      if (size < this.#options.maxBuffers && size > (best ? reads.get(best)!.size : 0)) best = x;
    }
    if (!best) throw internal(`${op.node.op} reads more buffers than a kernel may`);
    return best;
  }

  #settle(op: Op, draft: Draft): void {
    this.#places.set(op, draft);
    for (const buffer of draft.reads) {
      const readers = this.#readers.get(buffer) ?? [];
      if (readers.at(-1) !== draft) this.#readers.set(buffer, [...readers, draft].slice(-candidates));
    }
  }

  #bufferOf = (op: Op): number => op.leaf ?? this.buffers.get(op)!;

  #reach(draft: Draft, over: "row" | "outer"): Reach {
    return reachOf(draft, over, this.#stored, (op) => this.#places.get(op), this.#bufferOf);
  }

  #draft(outer: Shape, row: Shape, more: Partial<Draft> = {}): Draft {
    const draft: Draft = {
      kind: "loop",
      position: this.drafts.length,
      outer,
      row,
      stages: [],
      trailing: true,
      elements: new Set(),
      outers: new Set(),
      reduces: new Map(),
      reads: new Set(),
      fixed: false,
      ...more,
    };
    this.drafts.push(draft);
    return draft;
  }

  // ---- kernels of their own ----

  #own(op: Op): Draft {
    const { node } = op;
    if (isRoutine(op)) return this.#routine(op);
    if (node.op !== "reduce") {
      const draft = this.#draft(definitionParts(op)[0].node.shape, []);
      this.#storeElements(draft, op);
      return draft;
    }
    const [x] = op.inputs;
    const kept = node.shape;
    const row = node.attrs.axes.map((axis) => x.node.shape[axis]);
    const draft = this.#draft(kept, row, { trailing: isTrailing(op) });
    this.#reduceStage(draft, op);
    return draft;
  }

  #routine(op: Op): Draft {
    const draft = this.#draft(op.node.shape, [], { kind: "routine" });
    const reach = this.#reach(draft, "outer");
    const operand = (x: Op): Operand => {
      const { op: base, view } = sourceView(x, reach);
      const access = reach.access(base, view);
      if (access.kind !== "load") throw internal(`${op.node.op} reads an operand that has no buffer`);
      return {
        buffer: access.buffer,
        dtype: x.node.dtype,
        shape: x.node.shape,
        view: { offset: view.offset, strides: view.strides },
      };
    };
    const gathered = foldedRows(op, reach);
    const [lhs, ...rest] = op.inputs;
    const operands = [operand(gathered ? gathered.inputs[0] : lhs), ...rest.map(operand)];
    const rows = gathered && operand(gathered.inputs[1]);
    Object.assign(draft, { routine: { op, operands, rows } });
    this.#writeStore(draft, op, stage("map", "outer"));
    return draft;
  }

  /** One copy per input, each into its part of the result. */
  #concat(op: Op): void {
    const { node } = op;
    if (node.op !== "concat") throw internal("not a concat");
    const strides = stridesOf(node.shape);
    let start = 0;
    for (const input of op.inputs) {
      this.#copyInto(op, input, { offset: start * strides[node.attrs.axis], strides });
      start += input.node.shape[node.attrs.axis];
    }
  }

  /** Zeros everywhere, then the elements at their distances. */
  #dilate(op: Op): void {
    const { node } = op;
    if (node.op !== "pad") throw internal("not a pad");
    const { low, interior } = node.attrs;
    const zeros = this.#draft(node.shape, [], { fixed: true });
    const body = stage("map", "outer");
    const zero = body.body.add({ op: "constant", value: 0, dtype: node.dtype });
    body.stores.push({ op, buffer: this.#bufferOf(op), view: contiguousView(node.shape), value: zero });
    zeros.stages.push(body);
    const strides = stridesOf(node.shape);
    const offset = low.reduce((sum, before, axis) => sum + before * strides[axis], 0);
    this.#copyInto(op, op.inputs[0], { offset, strides: strides.map((stride, axis) => stride * (interior[axis] + 1)) });
  }

  #copyInto(op: Op, input: Op, view: View): void {
    const draft = this.#draft(input.node.shape, [], { fixed: true });
    const copy = stage("map", "outer");
    const value = copy.body.emit(input, undefined, this.#reach(draft, "outer"));
    copy.stores.push({ op, buffer: this.#bufferOf(op), view, value });
    draft.stages.push(copy);
    this.#settle(op, draft);
  }

  // ---- joining ----

  /** Loops and products that compute or read what `op` reads, latest first. */
  #neighbours(op: Op): Draft[] {
    const found = new Set<Draft>();
    const pending = [...op.inputs];
    const seen = new Set<Op>();
    while (pending.length > 0) {
      const input = pending.pop()!;
      if (seen.has(input)) continue;
      seen.add(input);
      if (input.leaf === undefined && !this.#stored.has(input)) {
        pending.push(...input.inputs);
        continue;
      }
      const place = this.#places.get(input);
      if (place) found.add(place);
      for (const reader of this.#readers.get(this.#bufferOf(input)) ?? [])
        if (reader.kind === "loop") found.add(reader);
    }
    const joinable = [...found].filter((draft) => !draft.fixed && (draft.kind === "loop" || isProduct(draft)));
    return joinable.toSorted((a, b) => b.position - a.position).slice(0, candidates);
  }

  #tryJoin(draft: Draft, op: Op): boolean {
    const reads = new Set(draft.reads);
    const stages = draft.stages.length;
    try {
      return this.#join(draft, op);
    } catch (error) {
      if (!(error instanceof CannotJoin || error instanceof NeedsBuffer)) throw error;
      draft.stages.length = stages;
      draft.reads.clear();
      for (const buffer of reads) draft.reads.add(buffer);
      return false;
    }
  }

  #join(draft: Draft, op: Op): boolean {
    if (this.#bufferCount(draft) >= this.#options.maxBuffers) return false;
    if (op.node.op === "reduce") return this.#joinReduce(draft, op);
    const size = sizeOf(op.node.shape);
    if (draft.row.length === 0 || draft.kind === "routine") {
      if (size !== points(draft)) return false;
      this.#storeElements(draft, op);
      return true;
    }
    if (size === sizeOf(draft.outer) && sizeOf(draft.row) !== 1) {
      this.#storeOuters(draft, op);
      return true;
    }
    if (size !== points(draft) || !draft.trailing || isLopsided(draft)) return false;
    this.#storeElements(draft, op);
    return true;
  }

  #bufferCount(draft: Draft): number {
    return draft.reads.size + draft.stages.reduce((sum, s) => sum + s.stores.length, 0);
  }

  #joinReduce(draft: Draft, op: Op): boolean {
    if (op.node.op !== "reduce" || draft.kind !== "loop") return false;
    if (!draft.trailing || !isTrailing(op)) return this.#joinColumns(draft, op);
    const outer = op.node.shape;
    const row = op.inputs[0].node.shape.slice(outer.length);
    if (draft.row.length > 0) {
      if (isLopsided(draft) || !sameShape(draft.outer, outer) || !sameShape(draft.row, row)) return false;
      this.#reduceStage(draft, op);
      return true;
    }
    if (!sameShape(draft.outer, [...outer, ...row]) || row.length === 0 || sizeOf(outer) < fewRows) return false;
    return this.#becomeRows(draft, op, outer, row);
  }

  /** A reduction of the same axes of the same points, which are not the last ones: over columns, say. */
  #joinColumns(draft: Draft, op: Op): boolean {
    const [first] = draft.reduces.keys();
    if (!first || isLopsided(draft) || !foldsAlike(first, op)) return false;
    this.#reduceStage(draft, op);
    return true;
  }

  /** An elementwise kernel whose values are also reduced walks row by row from now on. */
  #becomeRows(draft: Draft, op: Op, outer: Shape, row: Shape): boolean {
    const before = { outer: draft.outer, row: draft.row };
    const stages = draft.stages.map((s): StageDraft => ({ ...s, over: "row" }));
    const old = draft.stages.splice(0, draft.stages.length, ...stages);
    Object.assign(draft, { outer, row });
    try {
      this.#reduceStage(draft, op);
      return true;
    } catch (error) {
      draft.stages.splice(0, draft.stages.length, ...old);
      Object.assign(draft, before);
      throw error;
    }
  }

  // ---- stages ----

  #reduceStage(draft: Draft, op: Op): void {
    if (op.node.op !== "reduce") throw internal("not a reduce");
    const fold = stage("reduce", "row", { op, value: 0 });
    const [x] = op.inputs;
    const { axes } = op.node.attrs;
    const order = [...x.node.shape.keys()].filter((axis) => !axes.includes(axis)).concat(axes);
    const path = isTrailing(op) ? undefined : prepend({ op: "permute", attrs: { axes: order } }, undefined, undefined);
    fold.reduce!.value = this.#write(draft, fold, () => {
      const value = fold.body.emit(x, path, this.#reach(draft, "row"));
      // Columns that need nothing of each other can be cut into pieces for the threads.
      if (!draft.trailing && fold.body.instructions.some((i) => i.op === "reduced")) throw new CannotJoin();
      return value;
    });
    const last = stage("map", "outer");
    const value = last.body.add({ op: "reduced", stage: draft.stages.length, dtype: op.node.dtype });
    last.stores.push({ op, buffer: this.#bufferOf(op), view: contiguousView(draft.outer), value });
    draft.reduces.set(op, draft.stages.length);
    draft.stages.push(fold, last);
  }

  #storeElements(draft: Draft, op: Op): void {
    this.#writeStore(draft, op, this.#mapStage(draft, draft.row.length > 0 ? "row" : "outer"));
    if (draft.routine?.op !== op) draft.elements.add(op);
  }

  #storeOuters(draft: Draft, op: Op): void {
    this.#writeStore(draft, op, this.#mapStage(draft, "outer"));
    draft.outers.add(op);
  }

  /** The last stage if it is a map over the same points, else a new one. */
  #mapStage(draft: Draft, over: "row" | "outer"): StageDraft {
    const last = draft.stages.at(-1);
    return last?.kind === "map" && last.over === over ? last : stage("map", over);
  }

  #writeStore(draft: Draft, op: Op, into: StageDraft): void {
    const shape = into.over === "row" ? spaceOf(draft) : draft.outer;
    const reach = this.#reach(draft, into.over);
    const value = this.#write(draft, into, () => {
      if (draft.routine?.op === op) return into.body.add({ op: "result", dtype: op.node.dtype });
      // A stored reshape is its input, walked in the input's own order.
      if (op.node.op === "reshape") return into.body.emit(op.inputs[0], pathTo(op.inputs[0].node.shape, shape), reach);
      return into.body.define(op, pathTo(op.node.shape, shape), reach);
    });
    into.stores.push({ op, buffer: this.#bufferOf(op), view: contiguousView(shape), value });
    if (!draft.stages.includes(into)) draft.stages.push(into);
  }

  #write<T>(draft: Draft, into: StageDraft, write: () => T): T {
    return into.body.attempt(() => {
      const value = write();
      const joined = draft.stages.some((s) => s.stores.length > 0);
      const tooLong = into.body.instructions.length > longestBody;
      if (joined && (tooLong || this.#bufferCount(draft) >= this.#options.maxBuffers)) throw new CannotJoin();
      return value;
    });
  }
}

const contiguousView = (shape: Shape): View => ({ offset: 0, strides: contiguous(shape).strides });

/** The scheduler's own reshape where a kernel walks an op under another shape of the same size. */
const pathTo = (shape: Shape, space: Shape): Path | undefined =>
  sameShape(shape, space) ? undefined : prepend({ op: "reshape", attrs: { shape: space } }, undefined, undefined);

/** Whether a reduce folds the last axes, so that a row is contiguous. */
const isTrailing = ({ node, inputs }: Op): boolean =>
  node.op === "reduce" &&
  node.attrs.axes.every((axis, i) => axis === inputs[0].node.shape.length - node.attrs.axes.length + i);

/** Whether two reductions walk the same points in the same order. */
const foldsAlike = (a: Op, b: Op): boolean =>
  a.node.op === "reduce" &&
  b.node.op === "reduce" &&
  sameShape(a.node.attrs.axes, b.node.attrs.axes) &&
  sameShape(a.inputs[0].node.shape, b.inputs[0].node.shape);

const isProduct = ({ routine }: Draft): boolean =>
  routine?.op.node.op === "matmul" || routine?.op.node.op === "groupedMatmul";

/** Few and long rows: more work in the row would run on one thread. */
const isLopsided = ({ outer, row }: Draft): boolean => sizeOf(outer) < fewRows && sizeOf(row) > longRow;
