import { where, type Tensor } from "@switchyard/tensor";

/** Zero, with zero gradient, at padding: `[T, …]`. */
export const onlyReal = (x: Tensor, mask: Tensor | undefined): Tensor =>
  mask === undefined ? x : where(mask.reshape([-1, ...x.shape.slice(1).map(() => 1)]), x, 0);

/** The sum over real tokens: `[T, …] -> […]`. */
export const sumOverTokens = (x: Tensor, mask?: Tensor): Tensor => onlyReal(x, mask).sum(0);

/** How many real tokens there are, at least 1: what means divide by. */
export const realTokens = (x: Tensor, mask?: Tensor): Tensor | number =>
  mask === undefined ? Math.max(x.shape[0], 1) : mask.cast(x.dtype).sum().maximum(1);

/** The mean over real tokens: `[T, …] -> […]`; 0 if there are none. */
export const meanOverTokens = (x: Tensor, mask?: Tensor): Tensor => sumOverTokens(x, mask).div(realTokens(x, mask));
