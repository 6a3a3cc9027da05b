import { DTypeError } from "./errors.ts";
import { makeNode } from "./node.ts";
import type { Attrs, PrimitiveName } from "./primitives/index.ts";
import { describe } from "./shape.ts";
import type { Tensor } from "./tensor.ts";
import { isFloat, type DType, type Shape } from "./types.ts";

/** A tensor made by a primitive from others. The first input's handle class makes the new handle, so functions need not import it. */
export function apply<P extends PrimitiveName, D extends DType = DType>(
  op: P,
  inputs: readonly [Tensor, ...Tensor[]],
  attrs: Attrs[P],
): Tensor<D> {
  return inputs[0].derive(
    makeNode(
      op,
      inputs.map((t) => t.node),
      attrs,
    ),
  ) as Tensor<D>;
}

/** One number everywhere, on the device of `like`. The number is data: changing it recompiles nothing. */
export const fullLike = <D extends DType>(like: Tensor, value: number, shape: Shape, dtype: D): Tensor<D> =>
  like.derive(makeNode("full", [], { shape, dtype, value }, like.device)) as Tensor<D>;

/** Each element's coordinate along an axis, on the device of `like`. */
export const iotaLike = <D extends DType>(like: Tensor, shape: Shape, axis: number, dtype: D): Tensor<D> =>
  like.derive(makeNode("iota", [], { shape, axis, dtype }, like.device)) as Tensor<D>;

/** @throws {DTypeError} unless `x` is floating-point. */
export function checkFloat(op: string, x: Tensor): void {
  if (!isFloat(x.dtype))
    throw new DTypeError(
      `${op}: takes floating-point tensors; cast first, for example .cast("f32") (got ${describe(x)})`,
    );
}
