import { scatter, where, type Tensor } from "@switchyard/tensor";
import { apply, iotaLike } from "@switchyard/tensor/graph";
import type { VjpRule } from "./rule.ts";

/** `out[..., i] = x[..., i + by]`, zero past the end. */
function ahead(x: Tensor, by: number): Tensor {
  const last = x.ndim - 1;
  const kept = Math.max(x.shape[last] - by, 0);
  const starts = x.shape.map((_, axis) => (axis === last ? x.shape[last] - kept : 0));
  const tail = apply("slice", [x], { starts, sizes: x.shape.with(last, kept), steps: x.shape.map(() => 1) });
  const none = x.shape.map(() => 0);
  return apply("pad", [tail], { low: none, high: none.with(last, x.shape[last] - kept), interior: none });
}

/**
 * Solves `s[i] = c[i] + a[i] s[i + 1]` along rows by doubling: after each round `s[i]` covers twice as many terms. It takes
 * log2(n) rounds and no division.
 */
function backwardRecurrence(c: Tensor, a: Tensor): Tensor {
  const n = c.shape[c.ndim - 1];
  let sum = c;
  let product = a;
  for (let covered = 1; covered < n; covered *= 2) {
    sum = sum.add(product.mul(ahead(sum, covered)));
    if (2 * covered < n) product = product.mul(ahead(product, covered));
  }
  return sum;
}

/**
 * The gradient of a running product, right with any number of zeros: `ct[j]` gathers `P[<j] Σ_{i ≥ j} ct[i] Π_{j < k ≤ i} x[k]`,
 * whose sum is a linear recurrence from the end.
 */
function cumprodVjp(ct: Tensor, x: Tensor, exclusive: boolean): Tensor {
  const before = x.cumprod(-1, { exclusive: true });
  return before.mul(backwardRecurrence(exclusive ? ahead(ct, 1) : ct, ahead(x, 1)));
}

/** The gradient of a running maximum: to the element that set it, the first among equals; NaN sets it once. */
function cummaxVjp(ct: Tensor, x: Tensor, exclusive: boolean): Tensor {
  const last = x.ndim - 1;
  const before = apply("scan", [x], { op: "max", reverse: false, exclusive: true });
  const kept = x.le(before).or(before.isNaN());
  const setter = where(kept, 0, iotaLike(x, x.shape, last, "i32"));
  // The first exclusive element is the identity, out of range: it scatters nowhere.
  const index = apply("scan", [setter], { op: "max", reverse: false, exclusive });
  return scatter(ct, index, x.shape, { axis: last, batch: last, sorted: true });
}

export const scan: VjpRule<"scan"> = (ct, { attrs: { op, reverse, exclusive } }, [x]) => {
  if (op === "sum") return [apply("scan", [ct], { op, reverse: !reverse, exclusive })];
  const along = (t: Tensor): Tensor => (reverse ? t.flip(-1) : t);
  const rule = op === "prod" ? cumprodVjp : cummaxVjp;
  return [along(rule(along(ct), along(x), exclusive))];
};
