import { random, topK } from "@switchyard/tensor";
import { checkOptions, positiveInteger } from "@switchyard/tensor/graph";
import { checkChoices } from "./checks.ts";
import { drawingKey } from "./gate.ts";
import { evenRouting, type ExpertCount } from "./parameterFree.ts";
import type { Router, TokenRouting } from "./routing.ts";

export interface RandomRouterOptions {
  /** Experts a token is sent to; 1 by default. */
  readonly k?: number;
}

/**
 * Each token to k experts drawn at random, each weighing `1 / k`: what a router must beat. Evaluation draws too, from `key` or, without
 * one, always the same numbers.
 *
 * Source: Zuo et al. 2021, "Taming Sparsely Activated Transformer with Stochastic Experts".
 *
 * @throws {ConfigError} on a bad option; from `route`, in training without `key`.
 */
export function randomRouter(options: RandomRouterOptions = {}): Router<ExpertCount, TokenRouting> {
  checkOptions("randomRouter", options, { k: positiveInteger });
  const { k = 1 } = options;
  return {
    init(_key, { experts }) {
      checkChoices("randomRouter", k, experts);
      return { experts };
    },
    route(params, x, { train, key, mask } = {}) {
      const drawn = train || key ? drawingKey("randomRouter", "training draws experts and needs", { key }) : undefined;
      const scores = random.bits(drawn ?? random.key(0, { device: x.device }), [x.shape[0], params.experts]);
      return evenRouting(topK(scores, k).indices, x, params, mask);
    },
  };
}
