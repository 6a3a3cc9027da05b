import { where, type Tensor } from "@switchyard/tensor";
import { meanOverTokens } from "../losses/overTokens.ts";
import type { Routing } from "../routing/routing.ts";

/** How a mixture was used in a step. */
export interface RoutingStatistics {
  /** Pairs of token and choice that each expert saw. */
  readonly counts: readonly number[];
  /** Pairs that found no place. */
  readonly dropped: number;
  /** Of the router's probabilities, in nats, the mean over tokens: 0 if it is sure of one expert, `ln E` if of none. */
  readonly entropy: number;
}

/** The routings of a tree by path: objects with what every record has. */
function routingsIn(tree: unknown, path = ""): [path: string, routing: Routing][] {
  if (tree === null || typeof tree !== "object" || Object.getPrototypeOf(tree) === null) return [];
  const record = tree as Partial<Routing>;
  if (record.counts && record.offsets && record.probs && record.slots) return [[path, tree as Routing]];
  const isTree = Array.isArray(tree) || Object.getPrototypeOf(tree) === Object.prototype;
  if (!isTree) return [];
  return Object.entries(tree).flatMap(([key, value]) => routingsIn(value, path === "" ? key : `${path}.${key}`));
}

/** How the mixtures of a step were used, by path; undefined if there are none. */
export async function routingStatistics(aux: unknown): Promise<{ [path: string]: RoutingStatistics } | undefined> {
  const routings = routingsIn(aux);
  if (routings.length === 0) return undefined;
  const read = routings.map(async ([path, routing]) => [path, await statisticsOf(routing)] as const);
  return Object.fromEntries(await Promise.all(read));
}

async function statisticsOf({ counts, requested, probs, mask }: Routing): Promise<RoutingStatistics> {
  const surprise = where(probs.gt(0), probs, 1).log().mul(probs).sum(-1); // [T], 0 log 0 is 0
  const entropy: Tensor = meanOverTokens(surprise, mask).neg();
  const [seen, asked, mean] = await Promise.all([counts.data(), requested.sum().item(), entropy.item()]);
  return { counts: [...seen], dropped: asked - seen.reduce((sum, n) => sum + n, 0), entropy: mean };
}
