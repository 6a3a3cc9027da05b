import { ConfigError, topK, where, zeros, type Tensor } from "@switchyard/tensor";
import { checkOptions, flag, fullLike, nonNegative, positiveInteger, requireOptions } from "@switchyard/tensor/graph";
import { checkChoices } from "./checks.ts";
import { choose, place } from "./choose.ts";
import { initGate, routerLogits, type GateParams } from "./gate.ts";
import { makeRouting } from "./makeRouting.ts";
import type { LogitRouting, Router } from "./routing.ts";

export interface SigmoidTopKOptions {
  /** Experts a token is sent to. */
  readonly k: number;
  /** Into how many groups, of neighbours, experts fall; 1 by default. */
  readonly groups?: number;
  /** From how many groups a token may choose; all by default. */
  readonly topGroups?: number;
  /** What the weights are multiplied by; 1 by default. */
  readonly routeScale?: number;
  /**
   * Whether weights are made to add up to `routeScale`. By default they are for k above 1: a single normalised weight is always the
   * same, and the router would get no gradient from the task.
   */
  readonly normalize?: boolean;
}

export interface SigmoidTopKParams extends GateParams {
  /** `[E]`, zero at first: added to the scores to choose by, never to weigh by, and so without gradient. See `updateBias`. */
  readonly bias: Tensor;
}

/**
 * Scores `s = sigmoid(x·gate)`; the k experts with the greatest `s + bias`, of the groups with the greatest sums of their two best;
 * weights s over the sum of the chosen s, times the scale. `probs` of the record are s over its sum over all experts.
 *
 * Source: DeepSeek-AI 2024, "DeepSeek-V3", equations 12 to 16, and its reference implementation for groups.
 *
 * @throws {ConfigError} on a bad option; from `init` and `route`, if the groups do not divide the experts or leave fewer than k.
 */
export function sigmoidTopK(options: SigmoidTopKOptions): Router<SigmoidTopKParams, LogitRouting> {
  checkOptions("sigmoidTopK", options, {
    k: positiveInteger,
    groups: positiveInteger,
    topGroups: positiveInteger,
    routeScale: nonNegative,
    normalize: flag,
  });
  requireOptions("sigmoidTopK", options, "k");
  const { k, groups = 1, topGroups = groups, routeScale = 1, normalize = k > 1 } = options;
  if (topGroups > groups)
    throw new ConfigError(
      `sigmoidTopK: topGroups = ${topGroups} but there are ${groups} groups; choose at most ${groups}`,
    );
  return {
    init(key, sizes) {
      checkGroups(k, groups, topGroups, sizes.experts);
      return { ...initGate(key, sizes), bias: zeros([sizes.experts]) };
    },
    route({ gate, bias }, x, { mask } = {}) {
      const logits = routerLogits(x, gate); // [T, E]
      checkGroups(k, groups, topGroups, logits.shape[1]);
      const scores = logits.sigmoid();
      const preferred = inBestGroups(scores.add(bias).stopGradient(), groups, topGroups);
      const { indices } = topK(preferred, k);
      const chosen = choose(scores, indices); // [T, k]
      const weights = normalize ? overSum(chosen) : chosen;
      return makeRouting({ experts: indices, weights: weights.mul(routeScale), logits, probs: overSum(scores), mask });
    },
  };
}

/** Each row over its sum; a row of scores that have all underflowed stays zero. */
const overSum = (scores: Tensor): Tensor => scores.div(scores.sum(-1, { keepDims: true }).add(1e-20));

/** Scores outside each token's best groups at -∞, whatever the sign of the bias. */
function inBestGroups(scores: Tensor, groups: number, topGroups: number): Tensor {
  if (topGroups === groups) return scores;
  const [tokens, experts] = scores.shape;
  const size = experts / groups;
  const byGroup = scores.reshape([tokens, groups, size]);
  const best = topK(byGroup, Math.min(2, size)).values.sum(-1); // [T, groups]
  const kept = topK(best, topGroups).indices;
  const isKept = place(fullLike(scores, 1, kept.shape, "i32"), kept, groups).gt(0); // [T, groups]
  return where(isKept.expandDims(2), byGroup, -Infinity).reshape([tokens, experts]);
}

function checkGroups(k: number, groups: number, topGroups: number, experts: number): void {
  if (experts % groups !== 0)
    throw new ConfigError(`sigmoidTopK: ${groups} groups do not divide ${experts} experts; choose a divisor`);
  checkChoices("sigmoidTopK", k, experts);
  const eligible = (experts / groups) * topGroups;
  if (k > eligible)
    throw new ConfigError(
      `sigmoidTopK: k = ${k} but ${topGroups} of ${groups} groups have ${eligible} experts; raise topGroups`,
    );
}
