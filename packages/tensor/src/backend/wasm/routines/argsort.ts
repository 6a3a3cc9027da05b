import { result, rowsOf, type LowerRoutine } from "./routine.ts";
import { sortRows } from "./sort.ts";

/** Rows in parallel. */
export const argsort: LowerRoutine<"argsort"> = (kernel, _, features) => {
  const [x] = kernel.operands;
  const { length } = rowsOf(x);
  return sortRows(features, { x, out: result(kernel), take: length, descending: kernel.attrs.descending });
};
