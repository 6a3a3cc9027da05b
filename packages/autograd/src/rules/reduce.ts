import { argMax, argMin, type Tensor, where } from "@switchyard/tensor";
import { iotaLike } from "@switchyard/tensor/graph";
import type { Cotangent, VjpRule } from "./rule.ts";
import { fromRows, rowsOver } from "./views.ts";

/** Each row's number repeated along a new last axis of extent `n`. */
const alongRows = (x: Tensor, n: number): Tensor => x.expandDims(-1).broadcastTo([...x.shape, n]);

/** The product of all other elements of a row, by products from both ends: no division, so zeros are no exception. */
const productOfOthers = (rows: Tensor): Tensor =>
  rows.cumprod(-1, { exclusive: true }).mul(rows.cumprod(-1, { exclusive: true, reverse: true }));

/** `ct` at the extreme element of each row, the first in order among ties; zero elsewhere. */
function toExtreme(ct: Tensor, rows: Tensor, op: "max" | "min"): Tensor {
  const n = rows.shape[rows.ndim - 1];
  const index = op === "max" ? argMax(rows, -1) : argMin(rows, -1);
  const chosen = iotaLike(rows, rows.shape, rows.ndim - 1, "i32").eq(alongRows(index, n));
  return where(chosen, alongRows(ct, n), 0);
}

/** The gradient of a reduction: max and min give to the lowest index among ties. */
export const reduce: VjpRule<"reduce"> = (ct, { attrs: { op, axes } }, [x]): readonly Cotangent[] => {
  if (axes.some((axis) => x.shape[axis] === 0)) return [null];
  const rows = rowsOver(x, axes);
  const n = rows.shape[rows.ndim - 1];
  const back = (y: Tensor): Tensor => fromRows(y, axes, x);
  switch (op) {
    case "sum":
      return [ct.reshape(x.shape.map((extent, axis) => (axes.includes(axis) ? 1 : extent))).broadcastTo(x.shape)];
    case "prod":
      return [back(alongRows(ct, n).mul(productOfOthers(rows)))];
    case "max":
    case "min":
      return [back(toExtreme(ct, rows, op))];
  }
};
