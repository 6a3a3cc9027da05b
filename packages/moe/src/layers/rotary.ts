import { concat, type Tensor } from "@switchyard/tensor";
import { iotaLike } from "@switchyard/tensor/graph";

/**
 * Turns each pair of features by an angle that grows with the position, so that a product of two of them depends on how far apart
 * they are (Su et al. 2021, "RoFormer"). Feature `i` pairs with feature `i + D / 2`, and turns by `position · base^(-2 i / D)`.
 *
 * @param x `[…, S, D]`, D even.
 * @param positions `i32[S]`.
 */
export function rotary(x: Tensor, positions: Tensor, base: number): Tensor {
  const half = x.shape.at(-1)! / 2;
  const frequency = iotaLike(x, [half], 0, x.dtype)
    .mul(-Math.log(base) / half)
    .exp();
  const angle = positions.cast(x.dtype).expandDims(1).mul(frequency); // [S, D / 2]
  const [cos, sin] = [angle.cos(), angle.sin()];
  const [a, b] = x.split(2, -1); // […, S, D / 2]
  return concat([a.mul(cos).sub(b.mul(sin)), b.mul(cos).add(a.mul(sin))], -1);
}
