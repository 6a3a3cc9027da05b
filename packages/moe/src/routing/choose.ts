import { scatter, type Tensor } from "@switchyard/tensor";
import { customVjp } from "@switchyard/autograd";

/**
 * Values of chosen columns in columns of their own, zero elsewhere: `[T, k] -> [T, E]`. A token never chooses one expert twice, so every
 * write is to a place of its own.
 *
 * @param experts `i32[T, k]`, distinct in each row.
 */
export const place = (values: Tensor, experts: Tensor, count: number): Tensor =>
  scatter(values, experts, [values.shape[0], count], { axis: 1, batch: 1, unique: true });

/**
 * Chosen columns: `out[t, j] = x[t, experts[t, j]]`. Its gradient is `place`, plain stores, where an ordinary gather's would
 * have to allow for duplicates.
 *
 * @param x `[T, E]`.
 * @param experts `i32[T, k]`, distinct in each row.
 */
export const choose: (x: Tensor, experts: Tensor) => Tensor = /* @__PURE__ */ customVjp({
  forward: (x: Tensor, experts: Tensor) => x.gather(experts, 1, { batch: 1 }),
  backward: (ct, _y, x, experts) => [place(ct, experts, x.shape[1]), null],
});
