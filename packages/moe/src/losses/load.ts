import { ConfigError, topK, where, type Tensor } from "@switchyard/tensor";
import { checkOptions, finiteNumber, fullLike, oneOf } from "@switchyard/tensor/graph";
import { choose, place } from "../routing/choose.ts";
import type { Routing } from "../routing/routing.ts";
import { cvSquared, cvSquaredRules, type CvSquaredOptions } from "./cvSquared.ts";
import { sumOverTokens } from "./overTokens.ts";

export interface ProbInTopKOptions {
  /**
   * Whether gradients also flow to the noisy logit that is the threshold, another expert's own (`attached`, the default, as in
   * Tensor2Tensor), or take it for a constant (`detached`). The gradients differ a lot, even in sign.
   */
  readonly threshold?: "attached" | "detached";
}

export const thresholdRule = oneOf("attached", "detached");

/**
 * The probability that an expert would be among a token's k if its own noise were drawn again and the others' stayed:
 * `P[t, i] = Φ((logits[t, i] - threshold[t, i]) / noiseStd[t, i])`, the threshold being the k-th largest noisy logit of the
 * other experts: the (k + 1)-th of all if i is chosen, else the k-th. Chosen is what the record says, so ties count once.
 *
 * Where the deviation is 0, as everywhere in evaluation, and where k = E, it is 1 for the chosen and 0 for the others, and
 * has no gradient.
 *
 * Source: Shazeer et al. 2017, appendix A, equations 8 and 9.
 *
 * @returns `[T, E]`.
 * @throws {ConfigError} if the router has no noise.
 */
export function probInTopK(routing: Routing, options: ProbInTopKOptions = {}): Tensor {
  checkOptions("probInTopK", options, { threshold: thresholdRule });
  const { experts, logits, noiseStd, noisyLogits, gates } = routing;
  if (!experts || !logits || !noiseStd || !noisyLogits)
    throw new ConfigError(
      "probInTopK: the router has no noise, so its load has no gradient; route with noisyTopK, or balance with switchLoss",
    );
  const count = gates.shape[1];
  const k = experts.shape[1];
  const chosen = place(fullLike(gates, 1, experts.shape, gates.dtype), experts, count);
  if (k === count) return chosen;
  const best = choose(noisyLogits, topK(noisyLogits, k + 1).indices); // [T, k + 1]
  const threshold = where(chosen.gt(0), best.slice([], [k, k + 1]), best.slice([], [k - 1, k])); // [T, E]
  const passed = options.threshold === "detached" ? threshold.stopGradient() : threshold;
  const certain = noiseStd.eq(0); // in evaluation; softplus may underflow, too
  return where(
    certain,
    chosen,
    logits
      .sub(passed)
      .div(where(certain, 1, noiseStd))
      .normalCdf(),
  );
}

/**
 * The smooth estimate of how many tokens each expert gets: `load_i = Σ_t P[t, i]` over real tokens (Shazeer et al. 2017,
 * equation 10). In evaluation, the number itself.
 *
 * @returns `[E]`.
 * @throws {ConfigError} if the router has no noise.
 */
export const load = (routing: Routing, options: ProbInTopKOptions = {}): Tensor =>
  sumOverTokens(probInTopK(routing, options), routing.mask);

export interface LoadLossOptions extends CvSquaredOptions, ProbInTopKOptions {
  /** 1 by default. */
  readonly weight?: number;
}

/**
 * `weight · CV²(load)`: pulls the numbers of tokens together where importance only pulls the weights (Shazeer et al. 2017, equation 11).
 *
 * @returns a scalar.
 * @throws {ConfigError} if the router has no noise.
 */
export function loadLoss(routing: Routing, options: LoadLossOptions = {}): Tensor {
  checkOptions("loadLoss", options, { ...cvSquaredRules, threshold: thresholdRule, weight: finiteNumber });
  const { weight = 1, threshold, ...cv } = options;
  return cvSquared(load(routing, { threshold }), cv).mul(weight);
}
