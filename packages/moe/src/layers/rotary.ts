import type { Tensor } from "@switchyard/tensor";
import { iotaLike } from "@switchyard/tensor/graph";

/**
 * Turns each pair of features by an angle that grows with the position, so that a product of two of them depends on how far apart
 * they are (Su et al. 2021, "RoFormer"). Feature `i` pairs with feature `i + D / 2`, and turns by `position · base^(-2 i / D)`.
 *
 * Written with views alone, so that it and its gradient are a kernel each.
 *
 * @param x `[…, S, D]`, D even.
 * @param positions `i32[S]`.
 */
export function rotary(x: Tensor, positions: Tensor, base: number): Tensor {
  const half = x.shape.at(-1)! / 2;
  // In f16 a position has 11 bits, and an angle of a hundred radians errs by a twentieth.
  const dtype = x.dtype === "f16" ? "f32" : x.dtype;
  const frequency = iotaLike(x, [half], 0, dtype)
    .mul(-Math.log(base) / half)
    .exp();
  const angle = positions.cast(dtype).expandDims(1).mul(frequency).expandDims(1); // [S, 1, D / 2]
  const sign = iotaLike(x, [2, 1], 0, dtype).mul(2).sub(1); // -1 for the first of each pair, 1 for the second
  const pairs = x.reshape([...x.shape.slice(0, -1), 2, half]); // […, S, 2, D / 2]
  const others = pairs.flip(-2);
  return pairs
    .mul(angle.cos().cast(x.dtype))
    .add(others.mul(angle.sin().mul(sign).cast(x.dtype)))
    .reshape(x.shape);
}
