import { apply } from "../apply.ts";
import { DTypeError, ShapeError } from "../errors.ts";
import { checkOptions, inWords, oneOf } from "../options.ts";
import type { GroupedMatmulAttrs } from "../primitives/matmul.ts";
import { broadcastShapes, describe } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import type { DType } from "../types.ts";
import { broadcastTo, expandDims, squeeze } from "./views.ts";

/**
 * Matrix product, with NumPy's rules: `[...b, m, k] · [...b, k, n] -> [...b, m, n]`, batch axes broadcast, a vector on
 * either side is a row or a column that disappears from the result.
 *
 * @throws {DTypeError} if an operand is no tensor.
 * @throws {ShapeError} if the inner extents differ or an operand is a scalar.
 */
export function matmul<D extends DType>(a: Tensor<D>, b: Tensor): Tensor<D> {
  for (const x of [a, b] as readonly (Tensor | undefined)[])
    if (x?.ndim === undefined) throw new DTypeError(`matmul: takes tensors, got ${inWords(x)}; use mul for a number`);
  if (a.ndim === 0 || b.ndim === 0)
    throw new ShapeError(`matmul: takes vectors and matrices (got ${describe(a)}, ${describe(b)}); use mul`);
  if (a.ndim === 1) return squeeze(matmul(expandDims(a, 0), b), b.ndim === 1 ? 0 : -2);
  if (b.ndim === 1) return squeeze(matmul(a, expandDims(b, 1)), -1);
  const batch = broadcastShapes("matmul", a.shape.slice(0, -2), b.shape.slice(0, -2));
  const wide = (x: Tensor): Tensor => broadcastTo(x, [...batch, ...x.shape.slice(-2)]);
  return apply("matmul", [wide(a), wide(b)], {});
}

/** Inner product of two vectors: `[n] · [n] -> []`. */
export function dot<D extends DType>(a: Tensor<D>, b: Tensor): Tensor<D> {
  if (a.ndim !== 1 || b.ndim !== 1)
    throw new ShapeError(`dot: takes two vectors (got ${describe(a)}, ${describe(b)}); use matmul`);
  if (a.size !== b.size) throw new ShapeError(`dot: takes vectors of one length (got ${describe(a)}, ${describe(b)})`);
  return matmul(a, b);
}

export interface GroupedMatmulOptions extends Partial<GroupedMatmulAttrs> {}

/**
 * Multiplies each group of rows by its own matrix.
 *
 * @param lhs `[m, k]`, rows ordered by group.
 * @param rhs `rows`: `[g, k, n]`; `contract`: `[m, n]`.
 * @param offsets `i32[g + 1]`, ascending, from 0 to at most `m`; group `i` is rows `offsets[i]..offsets[i + 1]`.
 * @returns `rows`: `[m, n]`, zero in rows past the last offset; `contract`: `[g, k, n]`, the product `lhsᵀ · rhs` of each group.
 * @throws {ShapeError} if extents do not fit.
 */
export function groupedMatmul<D extends DType>(
  lhs: Tensor<D>,
  rhs: Tensor,
  offsets: Tensor,
  { mode = "rows" }: GroupedMatmulOptions = {},
): Tensor<D> {
  checkOptions("groupedMatmul", { mode }, { mode: oneOf("rows", "contract") });
  return apply("groupedMatmul", [lhs, rhs, offsets], { mode });
}
