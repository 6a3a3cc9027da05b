import { fullLike } from "@switchyard/tensor/graph";
import type { Tensor } from "@switchyard/tensor";
import { makeRouting } from "./makeRouting.ts";
import type { RouterSizes, TokenRouting } from "./routing.ts";

/** The parameters of a router that learns nothing: how many experts there are, a plain number that no gradient and no optimizer touches. */
export type ExpertCount = Pick<RouterSizes, "experts">;

/** The record of choices that nothing weighs: each of k weighs `1 / k`. */
export const evenRouting = (indices: Tensor, x: Tensor, { experts }: ExpertCount, mask?: Tensor): TokenRouting =>
  makeRouting({
    experts: indices,
    weights: fullLike(x, 1 / indices.shape[1], indices.shape, x.dtype),
    expertCount: experts,
    mask,
  });
