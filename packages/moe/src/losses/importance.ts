import type { Tensor } from "@switchyard/tensor";
import { checkOptions, finiteNumber } from "@switchyard/tensor/graph";
import type { Routing } from "../routing/routing.ts";
import { cvSquared, cvSquaredRules, type CvSquaredOptions } from "./cvSquared.ts";
import { sumOverTokens } from "./overTokens.ts";

export interface ImportanceOptions {
  /** `bool[T]`: true for a real token. */
  readonly mask?: Tensor;
}

/**
 * How much weight each expert was given: `importance_i = Σ_t gates[t, i]` over real tokens (Shazeer et al. 2017, equation 6).
 *
 * @param gates `[T, E]`.
 * @returns `[E]`.
 */
export const importance = (gates: Tensor, { mask }: ImportanceOptions = {}): Tensor => sumOverTokens(gates, mask);

export interface ImportanceLossOptions extends CvSquaredOptions {
  /** 1 by default. */
  readonly weight?: number;
}

/**
 * `weight · CV²(importance)`: pulls the sums of the gates together (Shazeer et al. 2017, equation 7). What a capacity has dropped does
 * not count: take it of the record before, as `moe` does.
 *
 * @returns a scalar, differentiable through the gates.
 */
export function importanceLoss({ gates, mask }: Routing, options: ImportanceLossOptions = {}): Tensor {
  checkOptions("importanceLoss", options, { ...cvSquaredRules, weight: finiteNumber });
  const { weight = 1, ...cv } = options;
  return cvSquared(importance(gates, { mask }), cv).mul(weight);
}
