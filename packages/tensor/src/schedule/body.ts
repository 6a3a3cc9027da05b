import { internal } from "../errors.ts";
import type { Op } from "./canonical.ts";
import type { Instruction, Value, View } from "./plan.ts";
import { contiguous, isMovement, move, type Move, type ShapedView } from "./view.ts";

/** How the points of a kernel's space reach an op: movements from the op outwards. `by` is the op of a movement of the graph. */
export interface Path {
  readonly move: Move;
  readonly by?: Op;
  readonly next?: Path;
  /** Equal keys mean equal paths. */
  readonly key: string;
}

/** A path that passes one more movement before (nearer to the op than) another. */
export const prepend = (move: Move, by: Op | undefined, next: Path | undefined): Path => ({
  move,
  by,
  next,
  key: `${by ? by.index : move.op + JSON.stringify(move.attrs)};${next?.key ?? ""}`,
});

/** Thrown when a body cannot be written unless this op has a buffer of its own. */
export class NeedsBuffer {
  readonly op: Op;
  constructor(op: Op) {
    this.op = op;
  }
}

/** Thrown when an op cannot become part of a kernel that exists. */
export class CannotJoin {}

/** What a kernel says of an op with a buffer: load it, write its definition again, or use a value the kernel already holds. */
export type Access =
  | { readonly kind: "load"; readonly buffer: number }
  | { readonly kind: "inline" }
  | { readonly kind: "reduced"; readonly stage: number }
  | { readonly kind: "result" };

export interface Reach {
  isStored(op: Op): boolean;
  /** For leaves and stored ops, seen through `view`. @throws {CannotJoin} */
  access(op: Op, view: ShapedView): Access;
  /** Requires that an op be computed by an earlier kernel. @throws {CannotJoin} */
  await(op: Op): void;
}

/** A view after all movements of a path. @throws {NeedsBuffer} of the movement that strides cannot say. */
function follow(view: ShapedView, path: Path | undefined): ShapedView {
  for (let step = path; step; step = step.next) {
    const moved = move(view, step.move);
    if (!moved) throw step.by ? new NeedsBuffer(step.by) : new CannotJoin();
    view = moved;
  }
  return view;
}

const plain = ({ offset, strides, bounds }: ShapedView): View =>
  bounds ? { offset, strides, bounds } : { offset, strides };

/** Writes the straight-line code of one body: ops that have no buffer are written out where they are used. */
export class Body {
  readonly instructions: Instruction[] = [];
  readonly #written = new Map<string, Value>();
  readonly #values = new Map<string, Value>();

  /** Appends an instruction, or finds the same one. */
  add(instruction: Instruction): Value {
    const key = JSON.stringify(instruction);
    let value = this.#written.get(key);
    if (value === undefined) {
      value = this.instructions.push(instruction) - 1;
      this.#written.set(key, value);
    }
    return value;
  }

  /** Runs `write`; if it throws, the body is as it was. */
  attempt<T>(write: () => T): T {
    const { length } = this.instructions;
    const values = new Map(this.#values);
    try {
      return write();
    } catch (error) {
      for (const instruction of this.instructions.splice(length)) this.#written.delete(JSON.stringify(instruction));
      this.#values.clear();
      for (const [key, value] of values) this.#values.set(key, value);
      throw error;
    }
  }

  /** The value of an op at the point that a path reaches. */
  emit(op: Op, path: Path | undefined, reach: Reach): Value {
    const key = `${op.index}/${path?.key ?? ""}`;
    let value = this.#values.get(key);
    if (value === undefined) {
      value =
        op.leaf !== undefined || reach.isStored(op) ? this.#stored(op, path, reach) : this.define(op, path, reach);
      this.#values.set(key, value);
    }
    return value;
  }

  #stored(op: Op, path: Path | undefined, reach: Reach): Value {
    const { dtype, shape } = op.node;
    const view = follow(contiguous(shape), path);
    const access = reach.access(op, view);
    switch (access.kind) {
      case "load":
        return this.add({ op: "load", buffer: access.buffer, view: plain(view), dtype });
      case "reduced":
        return this.add({ op: "reduced", stage: access.stage, dtype });
      case "result":
        return this.add({ op: "result", dtype });
      case "inline":
        return this.define(op, path, reach);
    }
  }

  /** The value of an op by its definition, whether or not it has a buffer. */
  define(op: Op, path: Path | undefined, reach: Reach): Value {
    const { node, inputs } = op;
    const { dtype } = node;
    switch (node.op) {
      case "full":
        return this.add({ op: "number", slot: op.slot!, dtype });
      case "iota": {
        const view = follow(
          { ...contiguous(node.shape), strides: node.shape.map((_, i) => Number(i === node.attrs.axis)) },
          path,
        );
        return this.add({ op: "coordinate", view: { offset: view.offset, strides: view.strides }, dtype });
      }
      case "map":
        return this.add({
          op: "map",
          fn: node.attrs.fn,
          args: inputs.map((input) => this.emit(input, path, reach)),
          dtype,
        });
      case "after":
        reach.await(awaited(inputs[1], reach));
        return this.emit(inputs[0], path, reach);
      case "pad":
        return this.#pad(op, path, reach);
      case "reshape":
      case "permute":
      case "expand":
      case "slice":
        return this.emit(inputs[0], prepend(node, op, path), reach);
      case "gather":
        return this.#gather(op, path, reach);
      default:
        throw internal(`${node.op} has no elementwise definition`);
    }
  }

  /** Loads read 0 outside by themselves; computed values are masked. */
  #pad(op: Op, path: Path | undefined, reach: Reach): Value {
    const [input] = op.inputs;
    const { dtype } = op.node;
    const inner = prepend(op.node, op, path);
    const value = this.emit(input, inner, reach);
    const { bounds } = follow(contiguous(input.node.shape), inner);
    if (!bounds || this.instructions[value].op === "load") return value;
    const inside = this.add({ op: "inside", bounds, dtype: "bool" });
    const zero = this.add({ op: "constant", value: 0, dtype });
    return this.add({ op: "map", fn: "where", args: [inside, value, zero], dtype });
  }

  #gather(op: Op, path: Path | undefined, reach: Reach): Value {
    if (op.node.op !== "gather") throw internal("not a gather");
    const { attrs, shape, dtype } = op.node;
    const [x, index] = op.inputs;
    const source = sourceView(x, reach);
    const access = reach.access(source.op, source.view);
    if (access.kind !== "load") throw new CannotJoin();
    const indexAxes = index.node.shape.slice(attrs.batch);
    const strides = source.view.strides.toSpliced(attrs.axis, 1, ...indexAxes.map(() => 0));
    const aligned = shape.map((extent, i) =>
      i < attrs.batch || (i >= attrs.axis && i < attrs.axis + indexAxes.length) ? extent : 1,
    );
    const spread = prepend(
      { op: "reshape", attrs: { shape: aligned } },
      undefined,
      prepend({ op: "expand", attrs: { shape } }, undefined, path),
    );
    let view: ShapedView;
    try {
      view = follow({ shape, offset: source.view.offset, strides }, path);
    } catch (error) {
      throw error instanceof NeedsBuffer ? new NeedsBuffer(op) : error;
    }
    return this.add({
      op: "gather",
      buffer: access.buffer,
      view: plain(view),
      index: this.emit(index, spread, reach),
      stride: source.view.strides[attrs.axis],
      extent: x.node.shape[attrs.axis],
      dtype,
    });
  }
}

/** What must have been computed for a value to be there: the op behind movements that have no buffer. */
export function awaited(op: Op, reach: Pick<Reach, "isStored">): Op {
  while (op.leaf === undefined && !reach.isStored(op) && (isMovement(op.node.op) || op.node.op === "after"))
    op = op.inputs[0];
  return op;
}

/** The stored op behind movements, and how it looks under the shape of `op`. @throws {NeedsBuffer} if strides cannot say it. */
export function sourceView(op: Op, reach: Pick<Reach, "isStored">): { op: Op; view: ShapedView } {
  let base = op;
  let path: Path | undefined;
  while (base.leaf === undefined && !reach.isStored(base)) {
    if (!isMovement(base.node.op)) throw new NeedsBuffer(base);
    path = prepend(base.node, base, path);
    base = base.inputs[0];
  }
  const view = follow(contiguous(base.node.shape), path);
  if (view.bounds) throw new NeedsBuffer(op);
  return { op: base, view };
}

/** The positions of the instructions that `values` need. */
export function needed(instructions: readonly Instruction[], values: Iterable<Value>): Set<Value> {
  const wanted = new Set(values);
  for (let i = instructions.length - 1; i >= 0; i--) {
    if (!wanted.has(i)) continue;
    const instruction = instructions[i];
    if (instruction.op === "map") for (const arg of instruction.args) wanted.add(arg);
    if (instruction.op === "gather") wanted.add(instruction.index);
  }
  return wanted;
}
