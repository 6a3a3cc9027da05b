import { mark, scatter, softmax, topK, where, type Tensor } from "@switchyard/tensor";
import { checkOptions, fullLike, iotaLike, positiveNumber, requireOptions } from "@switchyard/tensor/graph";
import { byRealTokens } from "../dispatch/byRealTokens.ts";
import { spread } from "../dispatch/permute.ts";
import { choose, place } from "./choose.ts";
import { initGate, routerLogits, type GateParams } from "./gate.ts";
import { checkMask } from "./makeRouting.ts";
import type { Router, Routing } from "./routing.ts";

export interface ExpertChoiceOptions {
  /** Experts that a token gets on average: each expert takes `floor(capacityFactor · T / E)` of T real tokens, at least 1 and at most all. */
  readonly capacityFactor: number;
}

/** A routing in which experts chose tokens. */
export interface ExpertChoiceRouting extends Routing {
  readonly logits: Tensor;
}

/**
 * Experts choose tokens: of `S = softmax(x·gate)` over the experts each expert takes the tokens that score highest with it, weighed by the
 * score. Every expert gets the same number, so that there is nothing to balance; a token may get none, or all of them.
 *
 * Which experts a token gets depends on the other tokens, later ones among them: **in a decoder this leaks the future**, and a
 * model trained so writes worse than its loss says. `transformer` warns of it.
 *
 * Source: Zhou et al. 2022, "Mixture-of-Experts with Expert Choice Routing"; on the leak Wang et al. 2024, section 5.2.
 *
 * @throws {ConfigError} on a bad option.
 */
export function expertChoice(options: ExpertChoiceOptions): Router<GateParams, ExpertChoiceRouting> {
  checkOptions("expertChoice", options, { capacityFactor: positiveNumber });
  requireOptions("expertChoice", options, "capacityFactor");
  const { capacityFactor } = options;
  return {
    looksAhead: true,
    init: initGate,
    route({ gate }, x, { mask: given } = {}) {
      const logits = routerLogits(x, gate); // [T, E]
      const probs = softmax(logits, -1);
      const [tokens, experts] = logits.shape;
      checkMask("expertChoice", given, tokens);
      const mask = given as Tensor<"bool"> | undefined;
      const takes = (real: number): number =>
        Math.min(real, Math.max(1, Math.floor((capacityFactor * real) / experts)));
      const scores = probs.transpose(); // [E, T]
      const chosen = topK(mask ? where(mask, scores, -1) : scores, takes(tokens)).indices; // [E, C]
      const rank = iotaLike(chosen, [1, chosen.shape[1]], 1, "i32");
      const live = mask && rank.lt(byRealTokens(mask, takes)).broadcastTo(chosen.shape); // real tokens come first
      const weights = live ? where(live, choose(scores, chosen), 0) : choose(scores, chosen);
      return {
        gates: place(weights, chosen, tokens).transpose(),
        logits,
        probs,
        ...slotsOf(chosen, weights, live),
        ...(mask && { mask }),
      };
    },
  };
}

/** What dispatch reads: the tokens of each expert, and after them the places that padding leaves empty. */
function slotsOf(
  chosen: Tensor<"i32">,
  weights: Tensor,
  live: Tensor | undefined,
): Pick<Routing, "slots" | "counts" | "requested" | "offsets"> {
  const [experts, each] = chosen.shape;
  const size = experts * each;
  const combined = mark("combine", weights).reshape([size]);
  const expert = iotaLike(chosen, chosen.shape, 0, "i32");
  if (!live) {
    const counts = fullLike(chosen, each, [experts], "i32");
    const slots = { token: chosen.reshape([size]), expert: expert.reshape([size]), weight: combined };
    return { slots, counts, requested: counts, offsets: iotaLike(chosen, [experts + 1], 0, "i32").mul(each) };
  }
  const sought = where(live, expert, experts).reshape([size]);
  const order = sought.argsort();
  const slotOf = scatter(iotaLike(chosen, [size], 0, "i32"), order, [size], { op: "set", unique: true });
  const sorted = sought.gather(order) as Tensor<"i32">;
  const counts = live.cast("i32").sum(1) as Tensor<"i32">;
  return {
    slots: {
      token: chosen.reshape([size]).gather(order),
      expert: sorted,
      weight: spread(combined, order, slotOf.reshape([size, 1])),
      live: sorted.lt(experts) as Tensor<"bool">,
    },
    counts,
    requested: counts,
    offsets: counts.pad([[1, 0]]).cumsum() as Tensor<"i32">,
  };
}
