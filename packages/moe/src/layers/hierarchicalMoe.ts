import {
  hierarchicalTopK,
  type HierarchicalRouting,
  type HierarchicalTopKOptions,
  type HierarchicalTopKParams,
} from "../routing/hierarchicalTopK.ts";
import { moe, type Moe, type MoeOptions } from "./moe.ts";

export interface HierarchicalMoeOptions<L extends string>
  extends Omit<MoeOptions<HierarchicalTopKParams, HierarchicalRouting, L>, "router">, HierarchicalTopKOptions {}

/**
 * A mixture of groups of experts: `y = Σ_i Σ_j group_i(x) · gate_ij(x) · expert_ij(x)`, each level noisy top-k. It is `moe` with the
 * router `hierarchicalTopK`, and for as many experts reads fewer gates.
 *
 * Source: Shazeer et al. 2017, appendix B.
 *
 * @throws {ConfigError} on a bad option.
 */
export function hierarchicalMoe<L extends string = never>(
  options: HierarchicalMoeOptions<L>,
): Moe<HierarchicalTopKParams, HierarchicalRouting, L> {
  const { groups, topGroups, k, noiseEpsilon, ...rest } = options;
  return moe({ ...rest, router: hierarchicalTopK({ groups, topGroups, k, noiseEpsilon }) });
}
