import { GradientError, stack, Tensor } from "@switchyard/tensor";
import { fullLike, iotaLike, sizeOf } from "@switchyard/tensor/graph";
import { grad, type LossOf } from "./grad.ts";
import { vjp } from "./vjp.ts";

/**
 * All derivatives of a tensor by a tensor, one pullback for each element of the value: for small values.
 *
 * @param f from a tensor `[...in]` to a tensor `[...out]`; further arguments are constants.
 * @returns a function that gives `[...out, ...in]`.
 */
export const jacobian =
  <R extends readonly unknown[]>(f: (x: Tensor, ...rest: R) => Tensor) =>
  (x: Tensor, ...rest: R): Tensor => {
    if (!(x instanceof Tensor))
      throw new GradientError(`jacobian: differentiates by one tensor, got ${String(x)}; use vjp for trees`);
    const [y, pullback] = vjp((z: Tensor) => f(z, ...rest), x);
    if (!(y instanceof Tensor))
      throw new GradientError(`jacobian: differentiates one tensor, the function returned ${String(y)}`);
    const shape = [...y.shape, ...x.shape];
    if (sizeOf(shape) === 0) return fullLike(x, 0, shape, x.dtype);
    const position = iotaLike(y, [y.size], 0, "i32").reshape(y.shape);
    const rows = Array.from({ length: y.size }, (_, i) => pullback(position.eq(i).cast(y.dtype))[0]);
    return stack(rows).reshape(shape);
  };

/**
 * All second derivatives of a loss by a tensor.
 *
 * @returns a function of a tensor `[...in]` that gives `[...in, ...in]`.
 */
export const hessian =
  <R extends readonly unknown[]>(f: (x: Tensor, ...rest: R) => LossOf) =>
  (x: Tensor, ...rest: R): Tensor =>
    jacobian((z: Tensor) => grad(f)(z, ...rest))(x);

/**
 * The product of the Hessian of a loss with a vector, without the Hessian.
 *
 * @returns a function of the parameters and a vector, a tree like them, that gives a tree like them.
 */
export const hvp =
  <P, R extends readonly unknown[]>(f: (params: P, ...rest: R) => LossOf) =>
  (params: P, vector: P, ...rest: R): P => {
    const [, pullback] = vjp((p: P) => grad(f)(p, ...rest), params);
    // The Hessian is symmetric, so the pullback of the gradient is the product.
    return pullback(vector)[0];
  };
