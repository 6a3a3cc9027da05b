import { assign, topK, where } from "@switchyard/tensor";
import { checkOptions } from "@switchyard/tensor/graph";
import { choose } from "./choose.ts";
import { initGate, routerLogits, type GateParams } from "./gate.ts";
import { makeRouting } from "./makeRouting.ts";
import type { LogitRouting, Router } from "./routing.ts";

/**
 * Balance without a loss or a dropped token: in training tokens are shared out so that every expert gets as many as any other (of T tokens
 * and E experts, `floor(T / E)` or one more) and the logits of the choices add up to about the most there is; in evaluation each token
 * goes to its greatest logit. The weight is the sigmoid of the logit. In training a token's expert depends on all the others of
 * the batch.
 *
 * Source: Lewis et al. 2021, "BASE Layers". With a residual connection around the layer, the output is theirs.
 */
export function baseAssignment(options: Record<string, never> = {}): Router<GateParams, LogitRouting> {
  checkOptions("baseAssignment", options, {});
  return {
    looksAhead: true,
    init: initGate,
    route({ gate }, x, { train, mask } = {}) {
      const logits = routerLogits(x, gate); // [T, E]
      const best = topK(logits, 1).indices;
      const shared = assign(logits, { mask }).expandDims(1); // [T, 1]
      const experts = train ? (mask ? where(mask.expandDims(1), shared, best) : shared) : best;
      return makeRouting({ experts, weights: choose(logits, experts).sigmoid(), logits, mask });
    },
  };
}
