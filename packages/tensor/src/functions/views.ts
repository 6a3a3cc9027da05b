import { apply, checkNumber, fullLike } from "../apply.ts";
import { ShapeError } from "../errors.ts";
import {
  broadcastShapes,
  checkArray,
  checkShape,
  describe,
  normalizeAxes,
  normalizeAxis,
  sameShape,
  sizeOf,
} from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import type { DType, Shape } from "../types.ts";

/** The same elements under another shape; one extent may be -1 and is worked out. */
export function reshape<D extends DType>(x: Tensor<D>, shape: Shape): Tensor<D> {
  const wanted = inferExtent(x, shape);
  return sameShape(wanted, x.shape) ? x : apply("reshape", [x], { shape: wanted });
}

function inferExtent(x: Tensor, shape: Shape): Shape {
  checkArray("reshape", "a shape is an array of extents", shape);
  const at = shape.indexOf(-1);
  if (at < 0) return shape;
  const rest = sizeOf(shape.toSpliced(at, 1));
  if (shape.lastIndexOf(-1) !== at || rest === 0 || x.size % rest !== 0) {
    throw new ShapeError(`reshape: cannot work out -1 in [${shape}] for the ${x.size} elements of ${describe(x)}`);
  }
  return shape.with(at, x.size / rest);
}

/** Axes in another order: axis `i` of the result is axis `axes[i]` of `x`. */
export function permute<D extends DType>(x: Tensor<D>, axes: readonly number[]): Tensor<D> {
  checkArray("permute", "axes are an array", axes);
  const order = axes.map((axis) => normalizeAxis("permute", axis, x.ndim));
  return order.length === x.ndim && order.every((axis, i) => axis === i) ? x : apply("permute", [x], { axes: order });
}

/** Swaps two axes, by default the last two. */
export function transpose<D extends DType>(x: Tensor<D>, a = -2, b = -1): Tensor<D> {
  const [i, j] = [normalizeAxis("transpose", a, x.ndim), normalizeAxis("transpose", b, x.ndim)];
  const axes = x.shape.map((_, axis) => (axis === i ? j : axis === j ? i : axis));
  return permute(x, axes);
}

/** New axes of extent 1 at these positions of the result. */
export function expandDims<D extends DType>(x: Tensor<D>, axis: number | readonly number[]): Tensor<D> {
  const count = typeof axis === "number" ? 1 : axis.length;
  const axes = normalizeAxes("expandDims", axis, x.ndim + count);
  const rest = [...x.shape];
  return reshape(
    x,
    Array.from({ length: x.ndim + count }, (_, i) => (axes.includes(i) ? 1 : rest.shift()!)),
  );
}

/** Without these axes, which must have extent 1; by default without all such. */
export function squeeze<D extends DType>(x: Tensor<D>, axis?: number | readonly number[]): Tensor<D> {
  const axes =
    axis === undefined ? x.shape.flatMap((n, i) => (n === 1 ? [i] : [])) : normalizeAxes("squeeze", axis, x.ndim);
  for (const a of axes)
    if (x.shape[a] !== 1) throw new ShapeError(`squeeze: axis ${a} of ${describe(x)} has extent ${x.shape[a]}, not 1`);
  return reshape(
    x,
    x.shape.filter((_, i) => !axes.includes(i)),
  );
}

/** Stretched to a shape, as broadcasting does. */
export function broadcastTo<D extends DType>(x: Tensor<D>, shape: Shape): Tensor<D> {
  if (sameShape(x.shape, shape)) return x;
  if (!sameShape(broadcastShapes("broadcastTo", x.shape, shape), shape)) {
    throw new ShapeError(`broadcastTo: ${describe(x)} does not stretch to [${shape}]`);
  }
  const lead = shape.length - x.ndim;
  const aligned = reshape(x, [...new Array<number>(lead).fill(1), ...x.shape]);
  return apply("expand", [aligned], { shape });
}

/** Per axis: a number takes one position and drops the axis; `[start?, stop?, step?]` takes a range, as in NumPy. */
export type SliceRange = number | readonly [start?: number | null, stop?: number | null, step?: number | null];

/**
 * A part of a tensor, one range per leading axis; axes not named are taken whole. Negative positions count from the end, and
 * ranges are clamped to the axis.
 *
 * @throws {ShapeError} if a single position is out of range, a step is 0, or there are more ranges than axes.
 */
export function slice<D extends DType>(x: Tensor<D>, ...ranges: readonly SliceRange[]): Tensor<D> {
  if (ranges.length > x.ndim)
    throw new ShapeError(`slice: ${ranges.length} ranges for the ${x.ndim} axes of ${describe(x)}`);
  const bounds = x.shape.map((extent, axis) => boundsOf(x, axis, extent, ranges[axis] ?? []));
  const sizes = bounds.map((b) => b.size);
  const whole = bounds.every(({ start, size, step }, axis) => start === 0 && step === 1 && size === x.shape[axis]);
  const part: Tensor<D> = whole
    ? x
    : apply("slice", [x], { starts: bounds.map((b) => b.start), sizes, steps: bounds.map((b) => b.step) });
  return reshape(
    part,
    sizes.filter((_, axis) => typeof ranges[axis] !== "number"),
  );
}

function boundsOf(
  x: Tensor,
  axis: number,
  extent: number,
  range: SliceRange,
): { start: number; size: number; step: number } {
  if (typeof range === "number") {
    const start = range < 0 ? range + extent : range;
    if (!Number.isInteger(start) || start < 0 || start >= extent) {
      throw new ShapeError(`slice: position ${range} is outside axis ${axis} of ${describe(x)}`);
    }
    return { start, size: 1, step: 1 };
  }
  if (!Array.isArray(range) || range.some((position) => position != null && !Number.isInteger(position)))
    throw new ShapeError(
      `slice: a range is a position or [start, stop, step], of integers (got ${JSON.stringify(range)} for axis ${axis} of ${describe(x)})`,
    );
  const step = range[2] ?? 1;
  if (step === 0) throw new ShapeError("slice: a step is a non-zero integer, got 0");
  const [low, high] = step > 0 ? [0, extent] : [-1, extent - 1];
  const clamp = (position: number): number =>
    Math.min(Math.max(position < 0 ? position + extent : position, low), high);
  const start = range[0] == null ? (step > 0 ? 0 : extent - 1) : clamp(range[0]);
  const stop = range[1] == null ? (step > 0 ? extent : -1) : clamp(range[1]);
  const size = Math.max(Math.ceil((stop - start) / step), 0);
  return size === 0 ? { start: 0, size, step: 1 } : { start, size, step };
}

/** Reversed along axes, by default all of them. */
export function flip<D extends DType>(x: Tensor<D>, axis?: number | readonly number[]): Tensor<D> {
  const axes = normalizeAxes("flip", axis, x.ndim);
  if (x.size === 0) return x;
  return slice(x, ...x.shape.map((_, i): SliceRange => (axes.includes(i) ? [null, null, -1] : [])));
}

/**
 * A border around a tensor.
 *
 * @param widths per axis `[before, after]`.
 * @param value what the border holds.
 */
export function pad<D extends DType>(
  x: Tensor<D>,
  widths: readonly (readonly [number, number])[],
  value = 0,
): Tensor<D> {
  if (widths.length !== x.ndim)
    throw new ShapeError(`pad: ${widths.length} widths for the ${x.ndim} axes of ${describe(x)}`);
  for (const width of widths) checkWidth(x, width);
  const attrs = { low: widths.map((w) => w[0]), high: widths.map((w) => w[1]), interior: widths.map(() => 0) };
  const padded = apply("pad", [x], attrs) as Tensor<D>;
  if (value === 0) return padded;
  const inside = apply("pad", [fullLike(x, 1, x.shape, "bool")], attrs);
  const border = fullLike(x, checkNumber("pad", value, x.dtype), padded.shape, x.dtype);
  return apply("map", [inside, padded, border], { fn: "where" });
}

function checkWidth(x: Tensor, width: readonly [number, number]): void {
  if (width.length === 2 && width.every((n) => Number.isInteger(n) && n >= 0)) return;
  throw new ShapeError(
    `pad: a width is [before, after], non-negative integers (got [${width}] for ${describe(x)}); slice to take away`,
  );
}

/** Tensors joined along an axis they may differ in. */
export function concat<D extends DType>(xs: readonly Tensor<D>[], axis = 0): Tensor<D> {
  const [first, ...rest] = listOf("concat", xs);
  const along = normalizeAxis("concat", axis, first.ndim);
  return rest.length === 0 ? first : apply("concat", [first, ...rest], { axis: along });
}

function listOf<T>(op: string, xs: readonly T[]): readonly [T, ...T[]] {
  if (!Array.isArray(xs)) throw new ShapeError(`${op}: takes an array of tensors, got ${String(xs)}`);
  if (xs.length === 0) throw new ShapeError(`${op}: takes at least one tensor, got none`);
  return xs as readonly T[] as readonly [T, ...T[]];
}

/** Tensors of one shape side by side along a new axis. */
export function stack<D extends DType>(xs: readonly Tensor<D>[], axis = 0): Tensor<D> {
  const [first] = listOf("stack", xs);
  const along = normalizeAxis("stack", axis, first.ndim + 1);
  const other = xs.find((x) => !sameShape(x.shape, first.shape));
  if (other) throw new ShapeError(`stack: inputs must have one shape (got ${describe(first)}, ${describe(other)})`);
  return concat(
    xs.map((x) => expandDims(x, along)),
    along,
  );
}

/** Parts along an axis: into `parts` equal ones, or of the given sizes. */
export function split<D extends DType>(x: Tensor<D>, parts: number | readonly number[], axis = 0): Tensor<D>[] {
  const along = normalizeAxis("split", axis, x.ndim);
  const extent = x.shape[along];
  if (typeof parts === "number" && !(Number.isInteger(parts) && parts >= 1 && extent % parts === 0)) {
    throw new ShapeError(`split: axis ${along} of ${describe(x)} does not divide into ${parts} equal parts`);
  }
  const sizes = typeof parts === "number" ? new Array<number>(parts).fill(extent / parts) : parts;
  checkShape("split", sizes);
  const total = sizes.reduce((sum, n) => sum + n, 0);
  if (total !== extent)
    throw new ShapeError(
      `split: sizes [${sizes}] add up to ${total}, not to the ${extent} of axis ${along} of ${describe(x)}`,
    );
  let start = 0;
  return sizes.map((size) => {
    const ranges = x.shape.map((_, i): SliceRange => (i === along ? [start, start + size] : []));
    start += size;
    return slice(x, ...ranges);
  });
}

/** The whole tensor repeated per axis, as `numpy.tile`. */
export function tile<D extends DType>(x: Tensor<D>, repeats: readonly number[]): Tensor<D> {
  checkShape("tile", repeats);
  const ndim = Math.max(x.ndim, repeats.length);
  const shape = [...new Array<number>(ndim - x.ndim).fill(1), ...x.shape];
  const times = [...new Array<number>(ndim - repeats.length).fill(1), ...repeats];
  const paired = shape.flatMap((n) => [1, n]);
  const stretched = shape.flatMap((n, i) => [times[i], n]);
  return reshape(
    broadcastTo(reshape(x, paired), stretched),
    shape.map((n, i) => n * times[i]),
  );
}

/** Each element repeated along an axis, as `numpy.repeat`. */
export function repeat<D extends DType>(x: Tensor<D>, times: number, axis = 0): Tensor<D> {
  checkShape("repeat", [times]);
  const along = normalizeAxis("repeat", axis, x.ndim);
  const wide = expandDims(x, along + 1);
  return reshape(broadcastTo(wide, wide.shape.with(along + 1, times)), x.shape.with(along, x.shape[along] * times));
}
