import { fullLike, iotaLike } from "../apply.ts";
import { DTypeError, ShapeError } from "../errors.ts";
import { checkOptions, oneOf } from "../options.ts";
import { defaultFloat } from "../runtime/defaults.ts";
import { checkShape, describe } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { isFloat, isInteger, type DType } from "../types.ts";
import { and, cast, eq, isNaN, le, lt, not, or, where } from "./elementwise.ts";
import { gather, indexTensor, scatter, type Index, type ScatterOptions } from "./indexing.ts";
import { broadcastTo, expandDims, reshape } from "./views.ts";

export interface OneHotOptions<D extends DType> {
  readonly dtype?: D;
}

/** 1 at each index along a new last axis, 0 elsewhere: `i32[...] -> [..., depth]`. An index out of range gives zeros. */
export function oneHot<D extends DType = "f32">(
  index: Tensor,
  depth: number,
  { dtype = defaultFloat() as DType as D }: OneHotOptions<D> = {},
): Tensor<D> {
  checkShape("oneHot", [depth]);
  if (!isInteger(index.dtype))
    throw new DTypeError(`oneHot: indices are i32 or u32 (got ${describe(index)}); cast them, .cast("i32")`);
  const shape = [...index.shape, depth];
  return cast(eq(broadcastTo(expandDims(index, -1), shape), iotaLike(index, shape, index.ndim, index.dtype)), dtype);
}

/**
 * How often each of `0..length - 1` occurs: `i32[...] -> i32[length]`. Other values are not counted.
 */
export function bincount(x: Tensor, length: number): Tensor<"i32"> {
  if (x.dtype !== "i32") throw new DTypeError(`bincount: counts i32 (got ${describe(x)}); cast it, .cast("i32")`);
  checkShape("bincount", [length]);
  return scatter(fullLike(x, 1, [x.size], "i32"), reshape(x, [x.size]), [length]);
}

export interface SegmentOptions {
  /** Promised by the caller: the segments ascend. Saves a sort. */
  readonly sorted?: boolean;
}

function segment<D extends DType>(
  name: string,
  op: NonNullable<ScatterOptions["op"]>,
  x: Tensor<D>,
  segments: Index,
  count: number,
  { sorted = false }: SegmentOptions,
): Tensor<D> {
  const index = indexTensor(name, x, segments);
  checkShape(name, [count]);
  if (index.ndim !== 1 || x.ndim === 0 || index.shape[0] !== x.shape[0])
    throw new ShapeError(
      `${name}: takes one segment for each row of the first axis (got ${describe(x)}, segments ${describe(index)})`,
    );
  return scatter(x, index, [count, ...x.shape.slice(1)], { op, sorted });
}

/**
 * Sums the rows of each segment, in order: `[n, ...] -> [count, ...]`. An empty segment gives 0.
 *
 * @param segments `i32[n]`: which segment a row belongs to; a row whose segment is out of range is left out.
 */
export const segmentSum = <D extends DType>(
  x: Tensor<D>,
  segments: Index,
  count: number,
  options: SegmentOptions = {},
): Tensor<D> => segment("segmentSum", "add", x, segments, count, options);

/** The largest of each segment, as `segmentSum`. An empty segment gives the least value of the dtype: -inf for floats. */
export const segmentMax = <D extends DType>(
  x: Tensor<D>,
  segments: Index,
  count: number,
  options: SegmentOptions = {},
): Tensor<D> => segment("segmentMax", "max", x, segments, count, options);

export interface SearchOptions {
  /** `left`: before elements equal to the value, the default; `right`: after them. */
  readonly side?: "left" | "right";
}

/**
 * Where each value would be inserted to keep the order, by binary search: `[n]`, `[...] -> i32[...]`. NaN sorts last.
 *
 * @param ordered `[n]`, ascending.
 */
export function searchSorted(ordered: Tensor, values: Tensor, { side = "left" }: SearchOptions = {}): Tensor<"i32"> {
  if (ordered.ndim !== 1)
    throw new ShapeError(`searchSorted: takes a vector to search in (got ${describe(ordered)}, ${describe(values)})`);
  checkOptions("searchSorted", { side }, { side: oneOf("left", "right") });
  const [n] = ordered.shape;
  const before = side === "left" ? lessThan : atMost;
  let found: Tensor<"i32"> = fullLike(values, 0, values.shape, "i32");
  for (let step = 2 ** Math.floor(Math.log2(n)); step >= 1; step /= 2) {
    const next = found.add(step); // are the first `next` elements all before the value?
    const fits = and(le(next, n), before(gather(ordered, next.sub(1)), values));
    found = where(fits, next, found) as Tensor<"i32">;
  }
  return found;
}

const lessThan = (x: Tensor, value: Tensor): Tensor =>
  isFloat(x.dtype) ? or(lt(x, value), and(isNaN(value), not(isNaN(x)))) : lt(x, value);

const atMost = (x: Tensor, value: Tensor): Tensor => (isFloat(x.dtype) ? or(le(x, value), isNaN(value)) : le(x, value));

function triangle<D extends DType>(name: string, x: Tensor<D>, keep: (column: Tensor, row: Tensor) => Tensor) {
  if (x.ndim < 2) throw new ShapeError(`${name}: takes matrices (got ${describe(x)})`);
  const position = (axis: number): Tensor<"i32"> => iotaLike(x, x.shape.slice(-2), axis, "i32");
  return where(keep(position(1), position(0)), x, 0) as Tensor<D>;
}

/** The matrices with zeros above a diagonal: 0 is the main one, positive ones lie above it. */
export const tril = <D extends DType>(x: Tensor<D>, diagonal = 0): Tensor<D> =>
  triangle("tril", x, (column, row) => column.le(row.add(diagonal)));

/** The matrices with zeros below a diagonal: 0 is the main one, positive ones lie above it. */
export const triu = <D extends DType>(x: Tensor<D>, diagonal = 0): Tensor<D> =>
  triangle("triu", x, (column, row) => column.ge(row.add(diagonal)));
