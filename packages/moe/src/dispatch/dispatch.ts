import { scatter, ShapeError, where, type Tensor } from "@switchyard/tensor";
import { checkFloat, describe } from "@switchyard/tensor/graph";
import type { Routing, Slots } from "../routing/routing.ts";
import { collect, spread } from "./permute.ts";

/** Zero, with zero gradient, in slots that no expert sees. */
export const onlyLive = (rows: Tensor, { live }: Slots): Tensor =>
  live === undefined ? rows : where(live.reshape([-1, ...rows.shape.slice(1).map(() => 1)]), rows, 0);

/**
 * Copies each token's features to the slots of its experts.
 *
 * @param x `[T, D]`.
 * @returns `[N, D]` in expert order, ready for `groupedMatmul` with `routing.offsets`; rows that no expert sees are zero and
 * pass no gradient.
 * @throws {ShapeError} unless x has the tokens of the record.
 */
export function dispatch(x: Tensor, { slots, rows, gates }: Routing): Tensor {
  if (x.ndim === 0 || x.shape[0] !== gates.shape[0])
    throw new ShapeError(`dispatch: the record routes ${gates.shape[0]} tokens (got ${describe(x)})`);
  return onlyLive(rows ? spread(x, slots.token, rows) : x.gather(slots.token, 0), slots);
}

/**
 * Adds up, for each token, what its experts answered, times the weights: the transpose of `dispatch` but for the weights.
 * The order of addition is that of the choices, so results repeat bit for bit.
 *
 * @param rows `[N, D]` in expert order.
 * @returns `[T, D]`; zero for padding.
 */
export function combine(rows: Tensor, routing: Routing): Tensor {
  checkFloat("combine", rows);
  const { slots } = routing;
  const weighted = onlyLive(rows, slots).mul(slots.weight.cast(rows.dtype).expandDims(1)); // [N, D]
  if (routing.rows) return collect(weighted, slots.token, routing.rows);
  return scatter(weighted, slots.token, [routing.gates.shape[0], rows.shape[1]]);
}
