import { ConfigError, div, maximum, tensor, type Tensor } from "@switchyard/tensor";
import { isFloat } from "@switchyard/tensor/graph";
import { treeLeaves, treeMap } from "../tree.ts";

/** The Euclidean norm of all float tensors of a tree together: a scalar, 0 if there are none. */
export function globalNorm(tree: unknown): Tensor {
  const squares = treeLeaves(tree)
    .filter((x) => isFloat(x.dtype))
    .map((x) => x.square().sum());
  if (squares.length === 0) return tensor(0);
  return squares.reduce((sum, x) => sum.add(x.cast(sum.dtype))).sqrt();
}

/** Gradients scaled down together, where their global norm is above `max`, to have that norm; untouched below it. */
export function clipByGlobalNorm<G>(grads: G, max: number): G {
  if (!(max > 0)) throw new ConfigError(`clipByGlobalNorm: max must be a number above 0, got ${max}`);
  const norm = globalNorm(grads);
  const scale = div(max, maximum(norm, max));
  return treeMap((g) => (isFloat(g.dtype) ? g.mul(scale.cast(g.dtype)) : g), grads);
}
