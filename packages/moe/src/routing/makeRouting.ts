import { ConfigError, DTypeError, mark, ShapeError, scatter, softmax, where, type Tensor } from "@switchyard/tensor";
import { describe, fullLike, iotaLike, sameShape } from "@switchyard/tensor/graph";
import { spread } from "../dispatch/permute.ts";
import { place } from "./choose.ts";
import type { LogitRouting, Slots, TokenRouting } from "./routing.ts";

export interface RoutingParts {
  /** `i32[T, k]`, distinct in each row. */
  readonly experts: Tensor;
  /** `[T, k]`. */
  readonly weights: Tensor;
  /** `[T, E]`. */
  readonly logits?: Tensor;
  /** `[T, E]`; by default the softmax of the logits, or the gates if there are none. */
  readonly probs?: Tensor;
  /** `bool[T]`: true for a real token. */
  readonly mask?: Tensor;
  /** `bool[T, k]`: pairs that are not sent, as when there is no room. They weigh 0, and count as asked for. */
  readonly dropped?: Tensor;
  /** E; by default the extent of the logits or probabilities. */
  readonly expertCount?: number;
}

/**
 * The full record of a routing in which tokens choose experts: what a custom router returns.
 *
 * @throws {ConfigError} if nothing tells how many experts there are.
 * @throws {ShapeError | DTypeError} if the parts do not fit together.
 */
export function makeRouting(parts: RoutingParts & { readonly logits: Tensor }): LogitRouting;
export function makeRouting(parts: RoutingParts): TokenRouting;
export function makeRouting(parts: RoutingParts): TokenRouting {
  const experts = parts.experts as Tensor<"i32">;
  const mask = parts.mask as Tensor<"bool"> | undefined;
  const count = expertCountOf(parts);
  checkParts(parts, count);
  const { logits } = parts;
  const dropped = realDrops(parts.dropped as Tensor<"bool"> | undefined, mask);
  const sent = sentPairs(experts, mask, dropped && mark("dropped", dropped));
  const weights = sent ? where(sent, parts.weights, 0) : parts.weights;
  const gates = place(weights, experts, count);
  return {
    experts,
    weights,
    gates,
    ...(logits && { logits }),
    probs: parts.probs ?? (logits ? softmax(logits, -1) : gates),
    ...sortPairs(experts, weights, count, sent),
    ...(dropped && { requested: countPairs(experts, count, mask) }),
    dropped: dropped ?? fullLike(experts, 0, experts.shape, "bool"),
    ...(mask && { mask }),
  };
}

/** The record in which these pairs are not sent. `requested` stays what was asked for. */
export function withDropped<R extends TokenRouting>(routing: R, dropped: Tensor): R {
  const { experts, weights, logits, probs, mask, gates, requested } = routing;
  const remade = makeRouting({ experts, weights, logits, probs, mask, expertCount: gates.shape[1], dropped });
  return { ...routing, ...remade, requested };
}

/** Padding drops nothing: it was never to be sent. */
const realDrops = (dropped: Tensor<"bool"> | undefined, mask: Tensor<"bool"> | undefined): Tensor<"bool"> | undefined =>
  dropped && ((mask ? dropped.and(mask.expandDims(1)) : dropped) as Tensor<"bool"> | undefined);

/** `bool[T, k]`: which pairs experts see; undefined if they see all. */
function sentPairs(
  experts: Tensor,
  mask: Tensor<"bool"> | undefined,
  dropped: Tensor<"bool"> | undefined,
): Tensor | undefined {
  const real = mask?.expandDims(1).broadcastTo(experts.shape);
  const kept = dropped?.not();
  return real && kept ? real.and(kept) : (real ?? kept);
}

/** How many pairs of real tokens ask for each expert: `i32[E]`. */
function countPairs(experts: Tensor<"i32">, count: number, mask: Tensor<"bool"> | undefined): Tensor<"i32"> {
  const one = mask
    ? mask.expandDims(1).broadcastTo(experts.shape).cast("i32")
    : fullLike(experts, 1, experts.shape, "i32");
  return place(one, experts, count).sum(0) as Tensor<"i32">;
}

/**
 * Sorts the pairs (token, choice) by expert. What is not sent goes to the expert after the last, and so to the end.
 * Every shape is known beforehand: nothing is read back.
 *
 * @param sent `bool[T, k]`; undefined if all are.
 */
function sortPairs(
  experts: Tensor<"i32">,
  weights: Tensor,
  count: number,
  sent: Tensor | undefined,
): Pick<TokenRouting, "slots" | "rows" | "counts" | "requested" | "offsets"> {
  const [tokens, k] = experts.shape;
  const pairs = tokens * k;
  const wanted = (sent ? where(sent, experts, count) : experts).reshape([pairs]);
  const order = wanted.argsort(); // [N]: the pair in each slot
  const slotOf = scatter(iotaLike(experts, [pairs], 0, "i32"), order, [pairs], { op: "set", unique: true }); // its inverse
  const expert = wanted.gather(order) as Tensor<"i32">;
  const perExpert = scatter(fullLike(experts, 1, [pairs], "i32"), expert, [count + 1], { sorted: true }); // and the unsent
  const counts = perExpert.slice([0, count]);
  const slots: Slots = {
    token: iotaLike(experts, [tokens, k], 0, "i32").reshape([pairs]).gather(order),
    expert,
    weight: spread(mark("combine", weights).reshape([pairs]), order, slotOf.reshape([pairs, 1])),
    ...(sent && { live: expert.lt(count) }),
  };
  return {
    slots,
    rows: slotOf.reshape([tokens, k]),
    counts,
    requested: counts,
    offsets: perExpert.cumsum(0, { exclusive: true }), // [E + 1]: what comes before each expert, and before the unsent
  };
}

function expertCountOf({ logits, probs, expertCount }: RoutingParts): number {
  const count = expertCount ?? (logits ?? probs)?.shape[1];
  if (count === undefined)
    throw new ConfigError("makeRouting: nothing tells how many experts there are; pass logits, probs or expertCount");
  return count;
}

function checkParts({ experts, weights, logits, probs, mask, dropped }: RoutingParts, count: number): void {
  if (experts.ndim !== 2 || !sameShape(experts.shape, weights.shape))
    throw new ShapeError(
      `makeRouting: experts and weights must both be [tokens, k] (got ${describe(experts)}, ${describe(weights)})`,
    );
  if (experts.dtype !== "i32")
    throw new DTypeError(`makeRouting: experts must be i32 (got ${describe(experts)}); cast them, .cast("i32")`);
  const [tokens, k] = experts.shape;
  if (k > count)
    throw new ConfigError(`makeRouting: ${k} distinct choices a token need as many experts, but there are ${count}`);
  for (const [name, part] of Object.entries({ logits, probs }))
    if (part && !sameShape(part.shape, [tokens, count]))
      throw new ShapeError(
        `makeRouting: ${name} must be [tokens, experts] = [${tokens},${count}] (got ${describe(part)})`,
      );
  if (dropped && (dropped.dtype !== "bool" || !sameShape(dropped.shape, experts.shape)))
    throw new ShapeError(
      `makeRouting: dropped must be bool[tokens, k] = bool[${experts.shape}] (got ${describe(dropped)})`,
    );
  checkMask("makeRouting", mask, tokens);
}

/** @throws {ShapeError | DTypeError} unless the mask, if there is one, is `bool[tokens]`. */
export function checkMask(op: string, mask: Tensor | undefined, tokens: number): void {
  if (!mask) return;
  if (mask.dtype !== "bool")
    throw new DTypeError(`${op}: mask must be bool, true for real tokens (got ${describe(mask)}); compare, .ne(0)`);
  if (!sameShape(mask.shape, [tokens]))
    throw new ShapeError(`${op}: mask must be [tokens] = [${tokens}] (got ${describe(mask)})`);
}
