import { random, softmax, topK, type Tensor } from "@switchyard/tensor";
import { checkOptions, fullLike, iotaLike, type Rule } from "@switchyard/tensor/graph";
import { checkChoices } from "./checks.ts";
import { choose } from "./choose.ts";
import { drawingKey, initGate, routerLogits, type GateParams } from "./gate.ts";
import { makeRouting } from "./makeRouting.ts";
import type { LogitRouting, RouteOptions, Router } from "./routing.ts";

export interface GshardTop2Options {
  /**
   * In training a second choice of weight w is sent with probability `min(1, w / threshold)`: 0.5 by default, as in GShard; Mesh
   * TensorFlow has 0.2.
   */
  readonly threshold?: number;
}

const probability: Rule = {
  must: "a number above 0 and at most 1",
  holds: (value) => typeof value === "number" && value > 0 && value <= 1,
};

/**
 * Each token to its two most probable experts, weights renormalised over the two; in training the second is sent at random, the
 * likelier the more it weighs. A second choice that is not sent counts as asked for (`requested`) and as `dropped`, and the first
 * keeps its weight, as in the source. In evaluation both are sent.
 *
 * Source: Lepikhin et al. 2020, "GShard", algorithm 1.
 *
 * @throws {ConfigError} on a bad option; from `init` and `route`, if there is one expert only; from `route`, in training without `key`.
 */
export function gshardTop2(options: GshardTop2Options = {}): Router<GateParams, LogitRouting> {
  checkOptions("gshardTop2", options, { threshold: probability });
  const { threshold = 0.5 } = options;
  return {
    init(key, sizes) {
      checkChoices("gshardTop2", 2, sizes.experts);
      return initGate(key, sizes);
    },
    route({ gate }, x, routeOptions = {}) {
      const logits = routerLogits(x, gate); // [T, E]
      checkChoices("gshardTop2", 2, logits.shape[1]);
      const { indices } = topK(logits, 2);
      const weights = softmax(choose(logits, indices), -1); // [T, 2]
      const dropped = routeOptions.train ? unsentSeconds(weights, threshold, routeOptions) : undefined;
      return makeRouting({ experts: indices, weights, logits, mask: routeOptions.mask, dropped });
    },
  };
}

/** `bool[T, 2]`: which pairs chance leaves out, second choices only. */
function unsentSeconds(weights: Tensor, threshold: number, options: RouteOptions): Tensor {
  const key = drawingKey("gshardTop2", "in training second choices are sent at random, which needs", options);
  const draw = random.uniform(key, [weights.shape[0], 1]).cast(weights.dtype);
  const unsent = weights.slice([], [1, 2]).le(draw.mul(threshold)); // [T, 1]
  const isSecond = iotaLike(weights, [1, 2], 1, "i32").eq(fullLike(weights, 1, [1, 2], "i32"));
  return unsent.and(isSecond);
}
