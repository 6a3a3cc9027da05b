import { ConfigError, scatter, ShapeError, type Tensor } from "@switchyard/tensor";
import { describe, fullLike } from "@switchyard/tensor/graph";
import { onlyReal } from "../losses/overTokens.ts";
import { place } from "../routing/choose.ts";
import type { Routing } from "../routing/routing.ts";

/** `f32[T, E]`: 1 where a real token chose an expert. */
function chosenBy(op: string, { experts, gates, mask }: Routing): Tensor {
  if (!experts) throw new ConfigError(`${op}: needs a router whose tokens choose experts`);
  const one = fullLike(experts, 1, experts.shape, "f32");
  return place(onlyReal(one, mask), experts, gates.shape[1]);
}

/**
 * How often two experts are chosen by the same token: `i32[E, E]`, symmetric; on the diagonal how often each is chosen at all.
 *
 * @throws {ConfigError} where experts choose tokens.
 */
export function coActivation(routing: Routing): Tensor<"i32"> {
  const chosen = chosenBy("coActivation", routing);
  return chosen.transpose().matmul(chosen).round().cast("i32"); // whole numbers, exact to 2^24
}

/**
 * Which tokens each expert takes: `i32[E, V]`, how often a token of each id chose each expert.
 *
 * @param tokenIds `i32` with one id for each token of the record, of any shape; ids outside `0..vocab - 1` are not counted.
 * @throws {ConfigError | ShapeError} where experts choose tokens, or if there are not as many ids as tokens.
 */
export function expertTokens(routing: Routing, tokenIds: Tensor, vocab: number): Tensor<"i32"> {
  const chosen = chosenBy("expertTokens", routing);
  const [tokens] = chosen.shape;
  if (tokenIds.size !== tokens)
    throw new ShapeError(`expertTokens: needs one id for each of ${tokens} tokens (got ${describe(tokenIds)})`);
  const counts = scatter(chosen.cast("i32"), tokenIds.reshape([tokens]), [vocab, chosen.shape[1]]); // [V, E]
  return counts.transpose() as Tensor<"i32">;
}
