import { DTypeError, ShapeError } from "../errors.ts";
import { describe, sizeOf } from "../shape.ts";
import { isFloat, type DType, type Shape } from "../types.ts";
import { plainKey, type HostArray, type Primitive } from "./primitive.ts";

export type ReduceOp = "sum" | "prod" | "max" | "min";

/** What a reduction of nothing gives, and where each one starts. */
export function identityOf(op: ReduceOp, dtype: DType): number {
  if (op === "sum") return 0;
  if (op === "prod") return 1;
  const lowest = { f16: -Infinity, f32: -Infinity, f64: -Infinity, i32: -0x80000000, u32: 0, bool: 0 }[dtype];
  const highest = { f16: Infinity, f32: Infinity, f64: Infinity, i32: 0x7fffffff, u32: 0xffffffff, bool: 1 }[dtype];
  return op === "max" ? lowest : highest;
}

/** One step of a reduction, in f64 for floats and wrapping for integers. NaN wins `max` and `min`. */
export function combine(op: ReduceOp, dtype: DType): (acc: number, x: number) => number {
  const wrap = dtype === "u32" ? (x: number) => x >>> 0 : (x: number) => x | 0;
  if (op === "max") return Math.max;
  if (op === "min") return Math.min;
  if (isFloat(dtype)) return op === "sum" ? (acc, x) => acc + x : (acc, x) => acc * x;
  return op === "sum" ? (acc, x) => wrap(acc + x) : (acc, x) => wrap(Math.imul(acc, x));
}

export interface ReduceAttrs {
  readonly op: ReduceOp;
  /** Ascending and distinct; these axes disappear. */
  readonly axes: readonly number[];
}

/** Combines the elements along some axes. `max` and `min` of bool are "any" and "all". */
export const reduce: Primitive<ReduceAttrs> = {
  infer: ([x], { op, axes }) => {
    if (x.dtype === "bool" && (op === "sum" || op === "prod")) {
      throw new DTypeError(`${op}: takes numbers (got ${describe(x)}); cast first, for example .cast("i32")`);
    }
    return { shape: x.shape.filter((_, i) => !axes.includes(i)), dtype: x.dtype };
  },
  reference: (out, [x], { op, axes }) => {
    const step = combine(op, x.dtype);
    const totals = new Float64Array(out.data.length).fill(identityOf(op, x.dtype));
    const kept = x.shape.map((_, i) => !axes.includes(i));
    for (let i = 0; i < x.data.length; i++) {
      const at = dropAxes(i, x.shape, kept);
      totals[at] = step(totals[at], x.data[i]);
    }
    out.data.set(totals);
  },
  key: plainKey,
};

/** The row-major position among the kept axes of the element at `position`. */
function dropAxes(position: number, shape: Shape, kept: readonly boolean[]): number {
  let at = 0;
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const coordinate = position % shape[axis];
    position = (position - coordinate) / shape[axis];
    if (kept[axis]) {
      at += coordinate * stride;
      stride *= shape[axis];
    }
  }
  return at;
}

export interface ArgReduceAttrs {
  readonly op: "max" | "min";
}

/** Whether `x` takes the place of the best so far: strictly better, so ties keep the lower index; NaN is better than any number. */
const beats = (op: "max" | "min", x: number, best: number): boolean =>
  !Number.isNaN(best) && (Number.isNaN(x) || (op === "max" ? x > best : x < best));

/** The index of the extreme element of each row (the last axis), which disappears. Ties go to the lower index; NaN wins. */
export const argReduce: Primitive<ArgReduceAttrs> = {
  infer: ([x], { op }) => {
    const name = op === "max" ? "argMax" : "argMin";
    if (x.dtype === "bool")
      throw new DTypeError(`${name}: takes numbers (got ${describe(x)}); cast first, for example .cast("i32")`);
    if (x.shape.at(-1) === 0)
      throw new ShapeError(`${name}: an empty axis has no extreme element (got ${describe(x)})`);
    return { shape: x.shape.slice(0, -1), dtype: "i32" };
  },
  reference: (out, [x], { op }) => {
    eachRow(x, (row, start, length) => {
      let best = 0;
      for (let i = 1; i < length; i++) if (beats(op, x.data[start + i], x.data[start + best])) best = i;
      out.data[row] = best;
    });
  },
  key: plainKey,
};

export interface ScanAttrs {
  readonly op: "sum" | "prod" | "max";
  readonly reverse: boolean;
  /** Element `i` combines those before it only, and the first is the identity. */
  readonly exclusive: boolean;
}

/** Running reduction along the last axis, from the end if `reverse`. */
export const scan: Primitive<ScanAttrs> = {
  infer: ([x], { op }) => {
    if (x.dtype === "bool")
      throw new DTypeError(`cum${op}: takes numbers (got ${describe(x)}); cast first, for example .cast("i32")`);
    return { shape: x.shape, dtype: x.dtype };
  },
  reference: (out, [x], { op, reverse, exclusive }) => {
    const step = combine(op, x.dtype);
    eachRow(x, (_, start, length) => {
      let acc = identityOf(op, x.dtype);
      for (let i = 0; i < length; i++) {
        const at = start + (reverse ? length - 1 - i : i);
        const next = step(acc, x.data[at]);
        out.data[at] = exclusive ? acc : next;
        acc = next;
      }
    });
  },
  key: plainKey,
};

/** Visits each row of the last axis: its number, where it starts and how long it is. */
export function eachRow(x: HostArray, visit: (row: number, start: number, length: number) => void): void {
  const length = x.shape[x.shape.length - 1];
  const rows = sizeOf(x.shape.slice(0, -1));
  for (let row = 0; row < rows; row++) visit(row, row * length, length);
}
