import { tensor, type Tensor } from "@switchyard/tensor";

/**
 * A whole number that depends on how many tokens are real, where that is data: `i32[]`. Worked out on the host for every possible count, so
 * that there is one rule, and no rounding of a device's own.
 *
 * @param mask `bool[T]`: true for a real token.
 */
export function byRealTokens(mask: Tensor, of: (real: number) => number): Tensor {
  const table = Int32Array.from({ length: mask.shape[0] + 1 }, (_, real) => of(real));
  return tensor(table, { device: mask.device }).gather(mask.cast("i32").sum(), 0);
}
