import { jit, lax, nn, numpy as np, vjp } from "@jax-js/jax";
import type { TaskMakers } from "../../tasks.ts";
import { drawn, taskOf, type JaxArray } from "./ready.ts";

/** The weights of a layer: `gate [D, E]`, `w1` and `w3` `[E, D, H]`, `w2 [E, H, D]`. */
export type LayerWeights = [gate: JaxArray, w1: JaxArray, w3: JaxArray, w2: JaxArray];

/** Half as many again as experts get on average: shapes are fixed when a program is compiled. Who overflows would show in the numbers. */
const capacityOf = (pairs: number, experts: number): number => Math.min(pairs, Math.ceil((1.5 * pairs) / experts) + 16);

/** SwiGLU: `[E, C, D] -> [E, C, D]`, or for one network `[T, D] -> [T, D]`, compiled. */
const network = jit((x: JaxArray, w1: JaxArray, w3: JaxArray, w2: JaxArray): JaxArray =>
  np.matmul(nn.silu(np.matmul(x.ref, w1)).mul(np.matmul(x, w3)), w2),
);

/**
 * The layer as this library does it best: (token, choice) pairs sorted by expert, each expert given `capacity` rows, one batched product. Not one
 * compiled program: `jit` refuses the gradient of a gather whose index is computed. Functions use their arguments up; `.ref` keeps one.
 */
export function mixtureLayer(x: JaxArray, [gate, w1, w3, w2]: LayerWeights, k: number): JaxArray {
  const [[tokens, dim], experts] = [x.shape, gate.shape[1]];
  const pairs = tokens * k;
  const capacity = capacityOf(pairs, experts);
  const [values, indices] = lax.topK(np.matmul(x.ref, gate), k); // [T, k]
  const weights = nn.softmax(values, -1);
  const expert = indices.transpose().reshape([pairs]); // pair j·T + t
  const order = expert.ref.argsort(); // stable
  const rank = order.ref.argsort();
  const counts = nn.oneHot(expert.ref, experts).sum(0).astype(np.int32); // [E]
  const offsets = np.cumsum(counts.ref).sub(counts); // [E]
  const place = offsets.ref.reshape([experts, 1]).add(np.arange(capacity).astype(np.int32).reshape([1, capacity]));
  const pair = order.slice(np.minimum(place.reshape([experts * capacity]), pairs - 1));
  const rows = x.slice(pair.mod(tokens)).reshape([experts, capacity, dim]); // [E, C, D]
  const outputs = network(rows, w1, w3, w2).reshape([experts * capacity, dim]);
  const slot = rank.sub(offsets.slice(expert.ref)).add(expert.mul(capacity)); // [T·k]
  return outputs
    .slice(slot)
    .reshape([k, tokens, dim])
    .mul(weights.transpose().reshape([k, tokens, 1]))
    .sum(0);
}

export const mixture = {
  moe({ tokens, dim, hidden, experts, k }, seed) {
    const f = (x: JaxArray, ...weights: LayerWeights): JaxArray => mixtureLayer(x, weights, k);
    const call = (...inputs: JaxArray[]) => {
      const [x, gate, w1, w3, w2, ct] = inputs;
      const [y, pullback] = vjp(f, [x, gate, w1, w3, w2]);
      const [dx, dgate, dw1, dw3, dw2] = pullback(ct);
      pullback.dispose();
      return { y, dx, dgate, dw1, dw3, dw2 };
    };
    return taskOf(call, [
      drawn([tokens, dim], seed, 0),
      drawn([dim, experts], seed, 1, dim ** -0.5),
      drawn([experts, dim, hidden], seed, 2, dim ** -0.5),
      drawn([experts, dim, hidden], seed, 3, dim ** -0.5),
      drawn([experts, hidden, dim], seed, 4, hidden ** -0.5),
      drawn([tokens, dim], seed, 5),
    ]);
  },
  dense({ tokens, dim, hidden }, seed) {
    const compiled = jit((x: JaxArray, w1: JaxArray, w3: JaxArray, w2: JaxArray, ct: JaxArray) => {
      const [y, pullback] = vjp(network, [x, w1, w3, w2]);
      const [dx, dw1, dw3, dw2] = pullback(ct);
      return { y, dx, dw1, dw3, dw2 };
    });
    return taskOf(compiled, [
      drawn([tokens, dim], seed, 0),
      drawn([dim, hidden], seed, 2, dim ** -0.5),
      drawn([dim, hidden], seed, 3, dim ** -0.5),
      drawn([hidden, dim], seed, 4, hidden ** -0.5),
      drawn([tokens, dim], seed, 5),
    ]);
  },
} satisfies TaskMakers;
