import { scatter, type Tensor } from "@switchyard/tensor";
import { checkOptions, finiteNumber } from "@switchyard/tensor/graph";
import type { HierarchicalRouting } from "../routing/hierarchicalTopK.ts";
import { cvSquared, cvSquaredRules } from "./cvSquared.ts";
import { load, probInTopK, thresholdRule, type LoadLossOptions, type ProbInTopKOptions } from "./load.ts";
import { onlyReal } from "./overTokens.ts";

/**
 * The smooth estimate of how many tokens each expert of a hierarchy gets: `load_ij = load_i · Σ_x P_i(x, j) / |X_i|`, load_i that of
 * group i and the sum over the tokens X_i that were sent to it. 0 in a group without tokens.
 *
 * Source: Shazeer et al. 2017, appendix B, equation 14.
 *
 * @returns `[E]`.
 */
export function hierarchicalLoad({ primary, secondary }: HierarchicalRouting, options: ProbInTopKOptions = {}): Tensor {
  const [groups, size] = [primary.gates.shape[1], secondary.gates.shape[1]];
  const inGroups = onlyReal(probInTopK(secondary, options), secondary.mask); // [N, E / groups]
  const sums = scatter(inGroups, primary.slots.expert, [groups, size], { sorted: true });
  const sent = primary.counts.cast(sums.dtype).maximum(1);
  return sums.mul(load(primary, options).div(sent).expandDims(1)).reshape([groups * size]);
}

/**
 * `weight · CV²(load)` of a hierarchy's experts.
 *
 * @returns a scalar.
 */
export function hierarchicalLoadLoss(routing: HierarchicalRouting, options: LoadLossOptions = {}): Tensor {
  checkOptions("hierarchicalLoadLoss", options, { ...cvSquaredRules, threshold: thresholdRule, weight: finiteNumber });
  const { weight = 1, threshold, ...cv } = options;
  return cvSquared(hierarchicalLoad(routing, { threshold }), cv).mul(weight);
}
