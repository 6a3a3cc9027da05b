import { ConfigError, type Tensor } from "@switchyard/tensor";
import { checkOptions, finiteNumber, iotaLike, oneOf } from "@switchyard/tensor/graph";
import type { Routing } from "../routing/routing.ts";
import { meanOverTokens, realTokens } from "./overTokens.ts";

/**
 * What `f_i` counts, for k choices a token.
 *
 * - `perToken`: pairs sent to expert i, by all pairs. Adds up to 1; the loss of a balanced routing is 1. (Megatron, MegaBlocks.)
 * - `perChoice`: pairs sent to expert i, by tokens. Adds up to k; balanced is k. (Mixtral and OLMoE in Transformers.)
 * - `firstChoice`: tokens whose first choice is i, by tokens. Adds up to 1; balanced is 1. (GShard and its heirs.)
 */
export type Fraction = "perToken" | "perChoice" | "firstChoice";

export interface SwitchLossOptions {
  /** `perToken` by default. For k = 1 the three are one. */
  readonly fraction?: Fraction;
  /** 1 by default. */
  readonly weight?: number;
}

/**
 * `weight · E · Σ_i f_i P_i`: f the fraction of the batch sent to expert i, a constant to gradients, and P the mean
 * probability of expert i, both over real tokens. What capacity drops is counted as sent.
 *
 * Source: Fedus et al. 2021, "Switch Transformers", equations 4 to 6.
 *
 * @returns a scalar, differentiable through the probabilities.
 * @throws {ConfigError} for `firstChoice` where experts choose tokens.
 */
export function switchLoss(routing: Routing, options: SwitchLossOptions = {}): Tensor {
  checkOptions("switchLoss", options, {
    fraction: oneOf("perToken", "perChoice", "firstChoice"),
    weight: finiteNumber,
  });
  const { fraction = "perToken", weight = 1 } = options;
  const mean = meanOverTokens(routing.probs, routing.mask); // [E]
  return fractions[fraction](routing)
    .mul(mean)
    .sum()
    .mul(weight * mean.size);
}

const fractions = {
  perToken: ({ requested, probs }) => {
    const sent = requested.cast(probs.dtype);
    return sent.div(sent.sum().maximum(1));
  },
  perChoice: ({ requested, probs, mask }) => requested.cast(probs.dtype).div(realTokens(probs, mask)),
  firstChoice: ({ experts, probs, mask }) => {
    if (!experts)
      throw new ConfigError('switchLoss: "firstChoice" needs a router whose tokens choose experts; use "perToken"');
    const isFirst = experts.slice([], [0, 1]).eq(iotaLike(experts, [1, probs.shape[1]], 1, "i32")); // [T, E]
    return meanOverTokens(isFirst.cast(probs.dtype), mask);
  },
} satisfies { [F in Fraction]: (routing: Routing) => Tensor };
