import type { Tensor } from "@switchyard/tensor";
import { anObject, checkOptions, finiteNumber } from "@switchyard/tensor/graph";
import { meanOverTokens, onlyReal } from "./overTokens.ts";

export interface ZLossOptions {
  /** `bool[T]`: true for a real token. */
  readonly mask?: Tensor;
  /** 1 by default; the paper uses 1e-3. */
  readonly weight?: number;
}

/**
 * `weight · mean_t(logSumExp(logits[t])²)` over real tokens: keeps the router's logits small, and with them the rounding
 * error of their softmax. It is a mean over tokens, whatever k is.
 *
 * Source: Zoph et al. 2022, "ST-MoE", equation 5.
 *
 * @param logits `[T, E]`.
 * @returns a scalar.
 */
export function zLoss(logits: Tensor, options: ZLossOptions = {}): Tensor {
  checkOptions("zLoss", options, { mask: anObject, weight: finiteNumber });
  const { mask, weight = 1 } = options;
  // What stands at padding, infinities too, must not reach the gradient as 0 · NaN.
  return meanOverTokens(onlyReal(logits, mask).logSumExp(-1).square(), mask).mul(weight);
}
