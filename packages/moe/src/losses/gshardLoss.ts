import type { Tensor } from "@switchyard/tensor";
import { checkOptions, finiteNumber, oneOf } from "@switchyard/tensor/graph";
import type { Routing } from "../routing/routing.ts";
import { switchLoss } from "./switchLoss.ts";

export interface GshardLossOptions {
  /** `mean`, the default: of a balanced routing it is `1 / E²`, as in the paper. `sum`: E² times that, 1 when balanced, as in the paper's code. */
  readonly scale?: "mean" | "sum";
  /** 1 by default. */
  readonly weight?: number;
}

/**
 * `weight · (1 / E) Σ_e (c_e / T) · m_e`: c the tokens whose first choice is e, before capacity and a constant to gradients, and m the
 * mean probability of e, both over real tokens. It is `switchLoss` by first choices, on another scale.
 *
 * Source: Lepikhin et al. 2020, "GShard", algorithm 1.
 *
 * @returns a scalar, differentiable through the probabilities.
 * @throws {ConfigError} where experts choose tokens.
 */
export function gshardLoss(routing: Routing, options: GshardLossOptions = {}): Tensor {
  checkOptions("gshardLoss", options, { scale: oneOf("mean", "sum"), weight: finiteNumber });
  const { scale = "mean", weight = 1 } = options;
  const experts = routing.gates.shape[1];
  return switchLoss(routing, { fraction: "firstChoice", weight: scale === "sum" ? weight : weight / experts ** 2 });
}
