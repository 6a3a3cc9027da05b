import { ConfigError, random, scatter, where, type Key, type Tensor } from "@switchyard/tensor";
import { fullLike, iotaLike } from "@switchyard/tensor/graph";
import { withDropped } from "../routing/makeRouting.ts";
import type { Routing, TokenRouting } from "../routing/routing.ts";
import { byRealTokens } from "./byRealTokens.ts";
import { capacityOf, checkCapacity, type CapacityOptions, type CapacityPriority } from "./capacity.ts";

/**
 * The record in which no expert sees more pairs than its capacity. Pairs without a place are `dropped`: they weigh 0, so a
 * token all of whose pairs are dropped comes out as zero, and keeps what a residual connection adds. Padding takes no place and does
 * not count where the capacity depends on the batch. `requested` stays what was asked for.
 *
 * Losses are of what the router decided: take them of the record before.
 *
 * @param key for `priority: "random"`.
 * @throws {ConfigError} on a bad option, or where experts choose tokens.
 */
export function withCapacity<R extends Routing>(decided: R, options: CapacityOptions, key?: Key): R {
  checkCapacity("withCapacity", options);
  if (!decided.experts)
    throw new ConfigError(
      "withCapacity: needs a router whose tokens choose experts; others have a capacity of their own",
    );
  const routing = decided as R & TokenRouting;
  const { experts } = routing;
  const count = routing.gates.shape[1];
  const [tokens, k] = experts.shape;
  const pairs = tokens * k;
  const unsent = unsentPairs(routing);
  const wanted = where(unsent, count, experts).reshape([pairs]); // what is not sent anyway takes no place
  const first = inPriority(routing, options.priority ?? "position", key); // [N]: pairs, those to be served first
  const byExpert = wanted.gather(first).argsort(); // stable
  const order = first.gather(byExpert); // [N]: pairs by expert, those to be served first
  const expert = wanted.gather(order); // ascending
  const begins = scatter(fullLike(experts, 1, [pairs], "i32"), expert, [count + 1], { sorted: true }).cumsum(0, {
    exclusive: true,
  });
  const rank = iotaLike(experts, [pairs], 0, "i32").sub(begins.gather(expert)); // within its expert
  const capacity = places(routing, options);
  const late = scatter(rank.ge(capacity).cast("i32"), order, [pairs], { op: "set", unique: true }).reshape([tokens, k]);
  return withDropped(routing, routing.dropped.or(late.gt(0)));
}

/** `bool[T, k]`: padding, and what the router itself has left out. */
const unsentPairs = ({ dropped, mask }: TokenRouting): Tensor =>
  mask ? dropped.or(mask.not().expandDims(1)) : dropped;

/** Places of each expert: a number, or, where padding is to leave it alone, `i32[]`. */
function places({ experts, gates, mask }: TokenRouting, options: CapacityOptions): Tensor | number {
  const [tokens, k] = experts.shape;
  const of = (real: number): number => capacityOf(options, { tokens: real, experts: gates.shape[1], k });
  return mask ? byRealTokens(mask, of) : of(tokens);
}

/** Pairs, numbered `token · k + choice`, in the order in which they are served: `i32[N]`. */
function inPriority({ experts, weights }: TokenRouting, priority: CapacityPriority, key: Key | undefined): Tensor {
  const pairs = experts.size;
  if (priority === "random") {
    if (key) return random.permutation(key, pairs);
    throw new ConfigError(
      'withCapacity: priority "random" draws an order and needs a key; pass random.key(…) after the options',
    );
  }
  const inOrder = iotaLike(experts, [pairs], 0, "i32");
  if (priority === "position") return inOrder;
  if (priority === "choice") return inOrder.reshape(experts.shape).transpose().reshape([pairs]);
  return weights.stopGradient().reshape([pairs]).argsort(0, { descending: true });
}
