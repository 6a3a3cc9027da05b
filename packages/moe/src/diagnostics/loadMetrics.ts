import { ConfigError, where, type Tensor } from "@switchyard/tensor";
import { inWords, isTensor } from "@switchyard/tensor/graph";

/** How evenly experts are used; scalars, each computed when it is read. */
export interface LoadMetrics {
  /** Population standard deviation over mean: 0 when balanced, `sqrt(E - 1)` when one expert has all. */
  readonly cv: Tensor;
  /** The busiest expert over the mean: 1 when balanced, E when it has all. */
  readonly maxOverMean: Tensor;
  /** `(max - mean) / mean`, the MaxVio of Wang et al. 2024, "Auxiliary-Loss-Free Load Balancing". */
  readonly maxViolation: Tensor;
  /** Of the shares, in nats: `ln E` when balanced, 0 when one expert has all. */
  readonly entropy: Tensor;
  /** `exp(entropy)`: the number of equally used experts that would be as uneven. */
  readonly effectiveExperts: Tensor;
  /** Experts without a token, by all experts. */
  readonly deadFraction: Tensor;
}

/**
 * Measures of balance. Of no tokens at all, every expert is dead and the other measures are 0.
 *
 * @param counts `[E]`, such as `routing.counts`; floats, such as `importance(gates)`, do as well.
 */
export function loadMetrics(counts: Tensor): LoadMetrics {
  if (!isTensor("loadMetrics", counts))
    throw new ConfigError(`loadMetrics: takes the counts of a routing, a tensor [E], got ${inWords(counts)}`);
  const v = counts.dtype === "f64" ? counts : counts.cast("f32");
  const total = v.sum();
  const none = total.eq(0);
  const share = v.div(where(none, 1, total)); // [E], adds up to 1
  const relative = share.mul(v.size); // 1 is the mean
  const entropy = share.mul(where(share.gt(0), share, 1).log().neg()).sum(); // 0 log 0 is 0
  const max = relative.max();
  return {
    cv: relative.std(),
    maxOverMean: max,
    maxViolation: where(none, 0, max.sub(1)),
    entropy,
    effectiveExperts: where(none, 0, entropy.exp()),
    deadFraction: v.eq(0).cast(v.dtype).mean(),
  };
}
