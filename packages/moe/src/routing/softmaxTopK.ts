import { softmax, topK } from "@switchyard/tensor";
import { checkOptions, flag, fraction, positiveInteger, requireOptions } from "@switchyard/tensor/graph";
import { checkChoices } from "./checks.ts";
import { choose } from "./choose.ts";
import { initGate, jittered, routerLogits, type GateParams } from "./gate.ts";
import { makeRouting } from "./makeRouting.ts";
import type { LogitRouting, Router } from "./routing.ts";

export interface SoftmaxTopKOptions {
  /** Experts a token is sent to. */
  readonly k: number;
  /**
   * Whether the k weights are made to add up to 1. By default they are for k above 1: a single renormalised weight is always 1, and the router
   * would get no gradient from the task.
   */
  readonly renormalize?: boolean;
  /** In training, multiplies the router's input, not the experts', by uniform numbers in `[1 - jitter, 1 + jitter]`; 0 by default. */
  readonly jitter?: number;
}

/**
 * Softmax gating: `p = softmax(x·gate)`, the k largest, weights p themselves or, renormalised, p over their sum (which is the
 * softmax over the k logits alone, and computed so).
 *
 * The gate starts normal with standard deviation `1 / sqrt(D)`.
 *
 * Source: Shazeer et al. 2017, equation 2, made sparse; renormalised as in Jiang et al. 2024, "Mixtral of Experts"; jitter
 * as in Fedus et al. 2021, "Switch Transformers".
 *
 * @throws {ConfigError} on a bad option; from `route`, if jitter is to be drawn without `key`.
 */
export function softmaxTopK(options: SoftmaxTopKOptions): Router<GateParams, LogitRouting> {
  checkOptions("softmaxTopK", options, { k: positiveInteger, renormalize: flag, jitter: fraction });
  requireOptions("softmaxTopK", options, "k");
  const { k, renormalize = k > 1, jitter = 0 } = options;
  return {
    init(key, sizes) {
      checkChoices("softmaxTopK", k, sizes.experts);
      return initGate(key, sizes);
    },
    route({ gate }, x, routeOptions = {}) {
      const logits = routerLogits(jittered("softmaxTopK", x, jitter, routeOptions), gate); // [T, E]
      checkChoices("softmaxTopK", k, logits.shape[1]);
      const { indices } = topK(logits, k);
      const probs = softmax(logits, -1);
      const weights = renormalize ? softmax(choose(logits, indices), -1) : choose(probs, indices); // [T, k]
      return makeRouting({ experts: indices, weights, logits, probs, mask: routeOptions.mask });
    },
  };
}
