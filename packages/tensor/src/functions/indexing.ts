import { apply } from "../apply.ts";
import { tensorLike } from "../creation.ts";
import { DTypeError } from "../errors.ts";
import { normalizeAxis } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import type { DType, Shape } from "../types.ts";
import type { ScatterAttrs } from "../primitives/indexing.ts";
import { add } from "./elementwise.ts";
import { alongLast } from "./reductions.ts";
import { reshape } from "./views.ts";

/** Integer positions: a tensor, or plain numbers. */
export type Index = Tensor | readonly number[];

/** An index as a tensor, on the device of `like`. */
export function indexTensor(op: string, like: Tensor, index: Index): Tensor {
  if (!Array.isArray(index)) return index as Tensor;
  const wrong = index.find((i) => !Number.isInteger(i));
  if (wrong !== undefined) throw new DTypeError(`${op}: indices are integers (got ${String(wrong)} among them)`);
  return tensorLike(like, index, "i32");
}

export interface GatherOptions {
  /** How many leading axes `x` and `index` share; each batch is indexed by its own part of the index. */
  readonly batch?: number;
}

/**
 * `x[..., index, ...]` along an axis: `x` with that axis replaced by the axes of the index.
 *
 * @param index i32; out of range reads 0.
 */
export function gather<D extends DType>(
  x: Tensor<D>,
  index: Index,
  axis = 0,
  { batch = 0 }: GatherOptions = {},
): Tensor<D> {
  return apply("gather", [x, indexTensor("gather", x, index)], { axis: normalizeAxis("gather", axis, x.ndim), batch });
}

/** Elements at positions along an axis, as `gather`; without an axis, at row-major positions of the whole tensor. */
export const take = <D extends DType>(x: Tensor<D>, index: Index, axis?: number): Tensor<D> =>
  axis === undefined ? gather(reshape(x, [x.size]), index) : gather(x, index, axis);

export interface ScatterOptions extends Partial<Omit<ScatterAttrs, "shape">> {}

/**
 * The transpose of `gather`: updates combined into a tensor of zeros of the given shape.
 *
 * @param updates `shape` with its axis replaced by the axes of the index.
 * @param index i32; out of range scatters nowhere.
 */
export function scatter<D extends DType>(
  updates: Tensor<D>,
  index: Index,
  shape: Shape,
  options: ScatterOptions = {},
): Tensor<D> {
  const { op = "add", axis = 0, batch = 0, unique = false, sorted = false } = options;
  const along = normalizeAxis("scatter", axis, shape.length);
  return apply("scatter", [updates, indexTensor("scatter", updates, index)], {
    op,
    axis: along,
    batch,
    shape,
    unique,
    sorted,
  });
}

/** `x` with updates added at the indices along an axis; duplicates add up in a fixed order. */
export const scatterAdd = <D extends DType>(x: Tensor<D>, index: Index, updates: Tensor, axis = 0): Tensor<D> =>
  add(x, scatter(updates, index, x.shape, { axis })) as Tensor<D>;

export interface SortOptions {
  readonly descending?: boolean;
}

/** The permutation that sorts along an axis: stable, ties to the lower index, NaN last. */
export const argsort = (x: Tensor, axis = -1, { descending = false }: SortOptions = {}): Tensor<"i32"> =>
  alongLast(x, normalizeAxis("argsort", axis, x.ndim), (rows) => apply("argsort", [rows], { descending }));

/** The elements in order along an axis, NaN last. Gradients flow to where they came from. */
export const sort = <D extends DType>(x: Tensor<D>, axis = -1, options?: SortOptions): Tensor<D> =>
  takeAlongAxis(x, argsort(x, axis, options), axis);

/** The `k` largest along an axis, largest first, ties to the lower index. Gradients flow through the values. */
export function topK<D extends DType>(
  x: Tensor<D>,
  k: number,
  axis = -1,
): { values: Tensor<D>; indices: Tensor<"i32"> } {
  const along = normalizeAxis("topK", axis, x.ndim);
  const indices: Tensor<"i32"> = alongLast(x, along, (rows) => apply("topK", [rows], { k }));
  return { values: takeAlongAxis(x, indices, along), indices };
}

/** `out[..., i, ...] = x[..., index[..., i, ...], ...]`: one index per position, as `numpy.take_along_axis`. */
export function takeAlongAxis<D extends DType>(x: Tensor<D>, index: Tensor, axis = -1): Tensor<D> {
  const along = normalizeAxis("takeAlongAxis", axis, x.ndim);
  const last = x.ndim - 1;
  const pick = (rows: Tensor<D>, at: Tensor): Tensor<D> => gather(rows, at, last, { batch: last });
  return along === last
    ? pick(x, index)
    : pick(x.transpose(along, -1), index.transpose(along, -1)).transpose(along, -1);
}
