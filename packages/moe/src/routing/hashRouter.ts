import { ConfigError, DTypeError, shiftRight, topK, type Tensor } from "@switchyard/tensor";
import { checkOptions, describe, iotaLike, positiveInteger, type Rule } from "@switchyard/tensor/graph";
import { checkChoices } from "./checks.ts";
import { evenRouting, type ExpertCount } from "./parameterFree.ts";
import type { Router, TokenRouting } from "./routing.ts";

export interface HashRouterOptions {
  /** Experts a token is sent to; 1 by default. */
  readonly k?: number;
  /** Decides which hash: an integer of 32 bits, 0 by default. */
  readonly seed?: number;
}

const word: Rule = {
  must: "an integer from 0 to 4294967295",
  holds: (value) => typeof value === "number" && value >>> 0 === value,
};

/**
 * A fixed hash of the token's id chooses its experts, whatever its features: nothing to learn, no loss to balance, and an id always
 * meets the same experts. Each expert scores each id and the k best scores win (rendezvous hashing); each choice weighs `1 / k`.
 *
 * Source: Roller et al. 2021, "Hash Layers For Large Sparse Models".
 *
 * @throws {ConfigError} on a bad option; from `route`, without `tokenIds`.
 */
export function hashRouter(options: HashRouterOptions = {}): Router<ExpertCount, TokenRouting> {
  checkOptions("hashRouter", options, { k: positiveInteger, seed: word });
  const { k = 1, seed = 0 } = options;
  return {
    init(_key, { experts }) {
      checkChoices("hashRouter", k, experts);
      return { experts };
    },
    route(params, x, { tokenIds, mask } = {}) {
      if (!tokenIds) throw new ConfigError("hashRouter: routes by token ids; pass { tokenIds }, one for each token");
      if (tokenIds.dtype !== "i32")
        throw new DTypeError(`hashRouter: tokenIds must be i32 (got ${describe(tokenIds)})`);
      const ids = tokenIds.cast("u32").reshape([x.shape[0], 1]);
      const experts = iotaLike(tokenIds, [1, params.experts], 1, "u32");
      const scores = mixed(mixed(ids.add(seed)).xor(experts)); // u32[T, E]
      return evenRouting(topK(scores, k).indices, x, params, mask);
    },
  };
}

/** 32 bits well mixed: the finaliser of MurmurHash3, an invertible map in which each bit of the input sways each of the output. */
function mixed(x: Tensor): Tensor {
  const folded = (y: Tensor, by: number): Tensor => y.xor(shiftRight(y, by));
  return folded(folded(folded(x, 16).mul(0x85ebca6b), 13).mul(0xc2b2ae35), 16);
}
