import { apply } from "../apply.ts";
import { ShapeError } from "../errors.ts";
import { describe } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import type { DType } from "../types.ts";

/** The same value; gradients stop here. */
export const stopGradient = <D extends DType>(x: Tensor<D>): Tensor<D> => apply("detach", [x], {});

/**
 * Names a place: the gradient ledger tells which paths cross it and what arrives there.
 *
 * @param role what the place is to those who look for such places, whatever their names: `explainRouter` looks for `router logits`.
 */
export const mark = <D extends DType>(
  name: string,
  x: Tensor<D>,
  { role }: { readonly role?: string } = {},
): Tensor<D> => apply("tag", [x], { kind: "mark", name, ...(role !== undefined && { role }) });

/**
 * Names a term of the loss: the gradient ledger classes paths by the innermost term they cross.
 * @throws {ShapeError} unless `x` is a scalar.
 */
export function term<D extends DType>(name: string, x: Tensor<D>): Tensor<D> {
  if (x.ndim !== 0)
    throw new ShapeError(
      `term: "${name}" names a scalar term of a loss (got ${describe(x)}); reduce it first, or use mark`,
    );
  return apply("tag", [x], { kind: "term", name });
}
