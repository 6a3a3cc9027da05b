import { ShapeError, type Tensor } from "@switchyard/tensor";
import { checkOptions, describe, flag, nonNegative, sameShape } from "@switchyard/tensor/graph";

export interface UpdateBiasOptions {
  /** How far a bias moves in a step; 1e-3 by default. */
  readonly speed?: number;
  /** Whether the mean is taken off the moves, so that the biases do not drift together; false by default. */
  readonly centred?: boolean;
}

/**
 * Balance without a loss: `bias_i + speed · sign(mean(counts) - counts_i)`. Experts with few tokens become easier to choose. To be
 * called after a step, with that step's counts, so that no token's routing depends on the future; in a `Model`, by `afterStep`.
 *
 * Source: Wang et al. 2024, "Auxiliary-Loss-Free Load Balancing Strategy for Mixture-of-Experts", algorithm 1; centred as in
 * TorchTitan.
 *
 * @param bias `[E]`.
 * @param counts `[E]`, such as `routing.counts`; with capacity, `routing.requested`.
 * @returns `[E]` in the dtype of `bias`.
 * @throws {ShapeError} unless both have one entry for each expert.
 */
export function updateBias(bias: Tensor, counts: Tensor, options: UpdateBiasOptions = {}): Tensor {
  checkOptions("updateBias", options, { speed: nonNegative, centred: flag });
  if (bias.ndim !== 1 || !sameShape(bias.shape, counts.shape))
    throw new ShapeError(
      `updateBias: bias and counts must both be [experts] (got ${describe(bias)}, ${describe(counts)})`,
    );
  const { speed = 1e-3, centred = false } = options;
  const load = counts.cast(bias.dtype);
  const direction = load.mean().sub(load).sign();
  return bias.add((centred ? direction.sub(direction.mean()) : direction).mul(speed));
}
