import { gather as pick, scatter as put, where, type Tensor } from "@switchyard/tensor";
import { iotaLike, sizeOf, type Attrs } from "@switchyard/tensor/graph";
import type { VjpRule } from "./rule.ts";

export const gather: VjpRule<"gather"> = (ct, { attrs }, [x, index]) => [() => put(ct, index, x.shape, attrs), null];

/** The gradient of a scatter gathers: for `set` and `max`, only where an update is the one that stayed. */
export const scatter: VjpRule<"scatter"> = (ct, { attrs }, [updates, index], output) => {
  const { op, axis, batch, unique } = attrs;
  const arrived = pick(ct, index, axis, { batch });
  if (op === "add" || unique) return [arrived, null];
  const won = op === "set" ? lastOnes(updates, index, attrs) : largestOnes(updates, index, output, attrs);
  return [where(won, arrived, 0), null];
};

/** Each update's position among the flattened index, from 0, in the shape of the updates. */
function positions(updates: Tensor, index: Tensor, { axis, batch }: Attrs["scatter"]): Tensor {
  const along = index.shape.slice(batch);
  const order = iotaLike(updates, [sizeOf(along)], 0, "i32");
  const aligned = [...updates.shape.slice(0, axis).map(() => 1), ...along];
  const after = updates.ndim - aligned.length;
  return order.reshape([...aligned, ...new Array<number>(after).fill(1)]).broadcastTo(updates.shape);
}

/** Which updates `set` kept: the last at each place. */
function lastOnes(updates: Tensor, index: Tensor, attrs: Attrs["scatter"]): Tensor {
  const at = positions(updates, index, attrs);
  const last = put(at, index, attrs.shape, { ...attrs, op: "max" });
  return pick(last, index, attrs.axis, attrs).eq(at);
}

/** Which updates `max` kept: the largest at each place, the first among ties; NaN wins. */
function largestOnes(updates: Tensor, index: Tensor, output: Tensor, attrs: Attrs["scatter"]): Tensor {
  const { axis } = attrs;
  const reached = updates.eq(pick(output, index, axis, attrs)).or(updates.isNaN());
  const count = sizeOf(index.shape.slice(attrs.batch));
  const rank = where(reached, positions(updates, index, attrs).neg().add(count), 0);
  const best = put(rank, index, attrs.shape, { ...attrs, op: "max" });
  return reached.and(pick(best, index, axis, attrs).eq(rank));
}
