import { ShapeError } from "./errors.ts";
import { inWords } from "./options.ts";
import type { DType, Shape } from "./types.ts";

/** Number of elements. */
export function sizeOf(shape: Shape): number {
  let size = 1;
  for (let i = 0; i < shape.length; i++) size *= shape[i];
  return size;
}

export function sameShape(a: Shape, b: Shape): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Row-major strides, in elements. */
export function stridesOf(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = stride;
    stride *= shape[i];
  }
  return strides;
}

/** `f32[2,3]`, as error messages and listings write a tensor. What is none, because nobody checked types, is told in words. */
export const describe = (t: { dtype: DType; shape?: Shape }): string =>
  t.shape ? `${t.dtype}[${t.shape.join(",")}]` : inWords(t);

/** An axis in `0..ndim-1`; negative axes count from the end. */
export function normalizeAxis(op: string, axis: number, ndim: number): number {
  if (!Number.isInteger(axis) || axis < -ndim || axis >= ndim) {
    const rule = ndim === 0 ? "a scalar has no axes" : `axes of a ${ndim}-dimensional tensor are ${-ndim}..${ndim - 1}`;
    throw new ShapeError(`${op}: axis ${axis} is out of range; ${rule}`);
  }
  return axis < 0 ? axis + ndim : axis;
}

/** Ascending, distinct axes; `undefined` means all of them. */
export function normalizeAxes(op: string, axis: number | readonly number[] | undefined, ndim: number): number[] {
  if (axis === undefined) return Array.from({ length: ndim }, (_, i) => i);
  if (typeof axis !== "number" && !Array.isArray(axis))
    throw new ShapeError(`${op}: an axis is a number or an array of them, got ${JSON.stringify(axis)}`);
  const axes = (typeof axis === "number" ? [axis] : [...axis]).map((a) => normalizeAxis(op, a, ndim));
  if (new Set(axes).size !== axes.length) throw new ShapeError(`${op}: axes [${axes}] name one axis twice`);
  return axes.toSorted((a, b) => a - b);
}

/** The shape two shapes broadcast to, as in NumPy: aligned at the end, an extent of 1 stretches. */
export function broadcastShapes(op: string, a: Shape, b: Shape): Shape {
  if (sameShape(a, b)) return a;
  const ndim = Math.max(a.length, b.length);
  const out = new Array<number>(ndim);
  for (let i = 0; i < ndim; i++) {
    const x = a[a.length - ndim + i] ?? 1;
    const y = b[b.length - ndim + i] ?? 1;
    if (x !== y && x !== 1 && y !== 1) {
      throw new ShapeError(`${op}: shapes [${a}] and [${b}] do not broadcast: ${x} meets ${y} on axis ${i - ndim}`);
    }
    out[i] = x === 1 ? y : x;
  }
  return out;
}

/** Throws unless extents, or axes, come as an array: `reshape(2, 3)` is what other libraries take. */
export function checkArray(op: string, what: string, given: readonly number[]): void {
  if (Array.isArray(given)) return;
  throw new ShapeError(`${op}: ${what}, got ${String(given)}; write [${String(given)}]`);
}

/** Throws unless every extent is a non-negative integer. */
export function checkShape(op: string, shape: Shape): void {
  checkArray(op, "a shape is an array of extents", shape);
  for (const extent of shape) {
    if (!Number.isInteger(extent) || extent < 0) {
      throw new ShapeError(`${op}: extents are non-negative integers, got [${shape}]`);
    }
  }
}
