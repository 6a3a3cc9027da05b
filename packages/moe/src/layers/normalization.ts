import { layerNorm, ones, rmsNorm, zeros, type Key, type Tensor } from "@switchyard/tensor";
import {
  checkFloat,
  checkOptions,
  nonNegative,
  oneOf,
  positiveInteger,
  requireOptions,
} from "@switchyard/tensor/graph";

/** `layer`: mean 0 and variance 1. `rms`: mean square 1, which spares the mean. */
export type NormKind = "layer" | "rms";

export interface NormalizationOptions {
  /** D. */
  readonly dim: number;
  /** `rms` by default. */
  readonly kind?: NormKind;
  /** Added to the variance; 1e-5 by default. */
  readonly eps?: number;
}

export interface NormalizationParams {
  /** `[D]`, at first 1. */
  readonly scale: Tensor;
  /** `[D]`, at first 0, of `layer`. */
  readonly shift?: Tensor;
}

export interface Normalization {
  init(key?: Key): NormalizationParams;
  /** `[…, D] -> […, D]`, computed in the dtype of the parameters, in that of x. */
  apply(params: NormalizationParams, x: Tensor): Tensor;
}

/**
 * Brings the features of each token to one scale, then gives each its own.
 *
 * @throws {ConfigError} on a bad option.
 */
export function normalization(options: NormalizationOptions): Normalization {
  checkOptions("normalization", options, { dim: positiveInteger, kind: oneOf("layer", "rms"), eps: nonNegative });
  requireOptions("normalization", options, "dim");
  const { dim, kind = "rms", eps = 1e-5 } = options;
  return {
    init: () => ({ scale: ones([dim]), ...(kind === "layer" && { shift: zeros([dim]) }) }),
    apply({ scale, shift }, x) {
      checkFloat("normalization", x);
      const own = x.cast(scale.dtype);
      return (shift ? layerNorm(own, scale, shift, { eps }) : rmsNorm(own, scale, null, { eps })).cast(x.dtype);
    },
  };
}
