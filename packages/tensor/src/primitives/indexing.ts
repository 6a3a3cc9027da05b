import { DTypeError, ShapeError } from "../errors.ts";
import { checkShape, describe, sameShape, sizeOf } from "../shape.ts";
import type { Shape } from "../types.ts";
import { plainKey, type Primitive, type Spec } from "./primitive.ts";
import { combine, identityOf } from "./reduce.ts";

export interface GatherAttrs {
  /** The axis of `x` that the index selects along; at least `batch`. */
  readonly axis: number;
  /** How many leading axes `x` and `index` share. */
  readonly batch: number;
}

/** How `[...batch, ...before, n, ...after]` indexed by `[...batch, ...index]` falls into five flat extents. */
export interface GatherExtents {
  readonly batch: number;
  readonly before: number;
  readonly n: number;
  readonly after: number;
  readonly index: number;
}

/** The flat extents of a gather from `x`, or of a scatter to it. */
export function gatherExtents(x: Shape, index: Shape, { axis, batch }: GatherAttrs): GatherExtents {
  return {
    batch: sizeOf(x.slice(0, batch)),
    before: sizeOf(x.slice(batch, axis)),
    n: x[axis],
    after: sizeOf(x.slice(axis + 1)),
    index: sizeOf(index.slice(batch)),
  };
}

/** The shape of `gather(x, index)`: `x` with its axis replaced by the index's own axes. */
const gatheredShape = (x: Shape, index: Shape, { axis, batch }: GatherAttrs): number[] => [
  ...x.slice(0, axis),
  ...index.slice(batch),
  ...x.slice(axis + 1),
];

function checkIndex(op: string, x: Shape, index: Spec, { axis, batch }: GatherAttrs): void {
  if (index.dtype !== "i32")
    throw new DTypeError(`${op}: indices must be i32 (got ${describe(index)}); cast them, .cast("i32")`);
  if (!(batch >= 0 && batch <= axis && axis < x.length)) {
    throw new ShapeError(`${op}: axis ${axis} with ${batch} batch axes does not fit [${x}]`);
  }
  if (!sameShape(x.slice(0, batch), index.shape.slice(0, batch))) {
    throw new ShapeError(`${op}: the first ${batch} axes must agree (got [${x}], index ${describe(index)})`);
  }
}

/** `x[..., index, ...]` along an axis. An index out of range reads 0. */
export const gather: Primitive<GatherAttrs> = {
  infer: ([x, index], attrs) => {
    checkIndex("gather", x.shape, index, attrs);
    return { shape: gatheredShape(x.shape, index.shape, attrs), dtype: x.dtype };
  },
  reference: (out, [x, index], attrs) => {
    const e = gatherExtents(x.shape, index.shape, attrs);
    let at = 0;
    for (let b = 0; b < e.batch; b++) {
      for (let p = 0; p < e.before; p++) {
        for (let i = 0; i < e.index; i++) {
          const row = index.data[b * e.index + i];
          const inside = row >= 0 && row < e.n;
          for (let q = 0; q < e.after; q++) {
            out.data[at++] = inside ? x.data[((b * e.before + p) * e.n + row) * e.after + q] : 0;
          }
        }
      }
    }
  },
  key: plainKey,
};

export interface ScatterAttrs extends GatherAttrs {
  /** `set` takes the last of several updates to one place. */
  readonly op: "add" | "max" | "set";
  readonly shape: Shape;
  /** Promised by the caller: no index occurs twice within a batch. */
  readonly unique: boolean;
  /** Promised by the caller: indices ascend within a batch. */
  readonly sorted: boolean;
}

/**
 * The transpose of `gather`: combines updates into a tensor of the given shape that starts at the identity of `op` (zero for
 * `add` and `set`). An index out of range scatters nowhere. Duplicates are combined in the order of the updates.
 */
export const scatter: Primitive<ScatterAttrs> = {
  infer: ([updates, index], attrs) => {
    checkShape("scatter", attrs.shape);
    checkIndex("scatter", attrs.shape, index, attrs);
    const wanted = gatheredShape(attrs.shape, index.shape, attrs);
    if (!sameShape(updates.shape, wanted)) {
      throw new ShapeError(
        `scatter: updates must be [${wanted}] for index ${describe(index)} into [${attrs.shape}], got ${describe(updates)}`,
      );
    }
    if (updates.dtype === "bool" && attrs.op !== "set")
      throw new DTypeError(`scatter: "${attrs.op}" takes numbers (got ${describe(updates)})`);
    return { shape: attrs.shape, dtype: updates.dtype };
  },
  reference: (out, [updates, index], attrs) => {
    const e = gatherExtents(attrs.shape, index.shape, attrs);
    const step =
      attrs.op === "set" ? (_: number, x: number) => x : combine(attrs.op === "add" ? "sum" : "max", out.dtype);
    const totals = new Float64Array(out.data.length).fill(attrs.op === "max" ? identityOf("max", out.dtype) : 0);
    let from = 0;
    for (let b = 0; b < e.batch; b++) {
      for (let p = 0; p < e.before; p++) {
        for (let i = 0; i < e.index; i++) {
          const row = index.data[b * e.index + i];
          for (let q = 0; q < e.after; q++, from++) {
            if (row < 0 || row >= e.n) continue;
            const at = ((b * e.before + p) * e.n + row) * e.after + q;
            totals[at] = step(totals[at], updates.data[from]);
          }
        }
      }
    }
    out.data.set(totals);
  },
  key: plainKey,
};
