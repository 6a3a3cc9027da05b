import type { Tensor } from "@switchyard/tensor";
import { customVjp } from "@switchyard/autograd";

/**
 * Copies of rows in the order of slots: `[T, …] -> [N, …]`. The transpose of `collect`, so that its gradient reads where an
 * ordinary gather's would write: no scatter, and the sum over a token's choices in a fixed order.
 *
 * @param token `i32[N]`: the row that each slot copies.
 * @param rows `i32[T, k]`: the slots that copy each row.
 */
export const spread: (x: Tensor, token: Tensor, rows: Tensor) => Tensor = /* @__PURE__ */ customVjp({
  forward: (x: Tensor, token: Tensor, _rows: Tensor) => x.gather(token, 0),
  backward: (ct, _y, _x, token, rows) => [collect(ct, token, rows), null, null],
});

/** Sums of each token's slots: `[N, …] -> [T, …]`, choice by choice. The transpose of `spread`. */
export const collect: (slots: Tensor, token: Tensor, rows: Tensor) => Tensor = /* @__PURE__ */ customVjp({
  forward: (slots: Tensor, _token: Tensor, rows: Tensor) => {
    const choices = slots.gather(rows, 0); // [T, k, …]
    return rows.shape[1] === 1 ? choices.squeeze(1) : choices.sum(1);
  },
  backward: (ct, _y, _slots, token, rows) => [spread(ct, token, rows), null, null],
});
