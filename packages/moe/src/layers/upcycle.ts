import { ConfigError, random, type Key, type Tensor } from "@switchyard/tensor";
import { anObject, checkOptions, nonNegative, positiveInteger, requireOptions } from "@switchyard/tensor/graph";
import type { ExpertsParams } from "./experts.ts";
import type { FeedForwardParams } from "./feedForward.ts";

export interface UpcycleOptions {
  /** E. */
  readonly experts: number;
  /** Needed for noise. */
  readonly key?: Key;
  /**
   * The standard deviation of what each weight of each expert is multiplied by, around 1; 0 by default, which makes experts alike. Alike, they
   * still part in training, as each sees tokens of its own.
   */
  readonly noise?: number;
}

/**
 * The parameters of experts that start as copies of a trained dense network. Under weights that add up to 1 such a mixture is that
 * network; so choose a router that renormalises. The router's own parameters are new: `router.init`.
 *
 * Source: Komatsuzaki et al. 2022, "Sparse Upcycling".
 *
 * @throws {ConfigError} on a bad option, or for noise without a key.
 */
export function upcycle(dense: FeedForwardParams, options: UpcycleOptions): ExpertsParams {
  checkOptions("upcycle", options, { experts: positiveInteger, key: anObject, noise: nonNegative });
  requireOptions("upcycle", options, "experts");
  const { experts, key, noise = 0 } = options;
  if (noise > 0 && !key)
    throw new ConfigError("upcycle: noise is drawn and needs a key; pass { noise, key: random.key(…) }");
  const copies = (t: Tensor): Tensor => t.expandDims(0).broadcastTo([experts, ...t.shape]);
  const matrix = (t: Tensor, place: number): Tensor => {
    const same = copies(t);
    if (!key || noise === 0) return same;
    return same.mul(random.normal(random.fold(key, place), same.shape).cast(t.dtype).mul(noise).add(1));
  };
  const { w1, b1, w2, b2, w3 } = dense;
  return {
    w1: matrix(w1, 1),
    ...(b1 && { b1: copies(b1) }),
    w2: matrix(w2, 2),
    ...(b2 && { b2: copies(b2) }),
    ...(w3 && { w3: matrix(w3, 3) }),
  };
}
