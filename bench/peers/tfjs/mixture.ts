import type { GradSaveFunc, Tensor, Tensor1D, Tensor2D } from "@tensorflow/tfjs-core";
import type { TaskMakers } from "../../tasks.ts";
import type { TensorFlow } from "./load.ts";
import { productOf } from "./product.ts";
import { asyncTaskOf, drawn, taskOf, valueAndPullback } from "./ready.ts";

/** The weights of a layer: `gate [D, E]`, `w1` and `w3` `[E, D, H]`, `w2 [E, H, D]`. */
export type LayerWeights = readonly [gate: Tensor, w1: Tensor, w3: Tensor, w2: Tensor];

/**
 * The layer as this library does it best: routing is decided on the host, which may read in the middle of a gradient; rows are moved by gathers
 * that carry their own gradients, since the wasm backend lacks the gradient of a gather; each expert is a product of its own.
 */
export function mixtureLayer(tf: TensorFlow) {
  const { gather } = tf;
  const product = productOf(tf);

  /** `x[index]`, whose gradient gathers by `back` and adds up runs of `k`. */
  const move = (x: Tensor2D, index: Tensor1D, back: Tensor1D, k: number): Tensor2D =>
    tf.customGrad((...args: (Tensor | GradSaveFunc)[]) => {
      const save = args[1] as GradSaveFunc;
      save([back]); // what the forward pass makes and does not save is gone when gradients are computed
      return {
        value: gather(args[0] as Tensor2D, index),
        gradFunc: (dy: Tensor, saved: Tensor[]) => {
          const rows = gather(dy as Tensor2D, saved[0] as Tensor1D);
          return k === 1 ? rows : rows.reshape([x.shape[0], k, x.shape[1]]).sum(1);
        },
      };
    })(x) as Tensor2D;

  /** @param routed what was read before, on a backend that cannot be read at once. */
  return (x: Tensor2D, [gate, w1, w3, w2]: LayerWeights, k: number, routed?: HostRouting): Tensor2D => {
    const logits = product(x, gate as Tensor2D); // [T, E]
    const [tokens, experts] = logits.shape;
    const { chosen, sizes, token, row, order } =
      routed ?? routeOnHost(logits.dataSync() as Float32Array, tokens, experts, k);
    const values = Array.from({ length: k }, (_, j) => {
      const mine = chosen.filter((_e, slot) => slot % k === j);
      return logits.mul(tf.oneHot(tf.tensor1d(mine, "int32"), experts)).sum(1);
    });
    const weights = tf.softmax(tf.stack(values, 1)); // [T, k]
    const [tokenOf, rowOf, orderOf] = [token, row, order].map((index) => tf.tensor1d(index, "int32"));
    const active = Array.from(sizes.keys()).filter((e) => sizes[e] > 0);
    const rows = tf.split(
      move(x, tokenOf, rowOf, k),
      active.map((e) => sizes[e]),
    ); // an expert's rows each
    const [a, b, c] = [w1, w3, w2].map((w) => tf.unstack(w) as Tensor2D[]);
    const outputs = active.map((e, i) => {
      const inner = product(rows[i], a[e]);
      return product(inner.mul(inner.sigmoid()).mul(product(rows[i], b[e])), c[e]) as Tensor2D;
    });
    const back = move(tf.concat(outputs), rowOf, orderOf, 1); // [T·k, D], by token
    return back.reshape([tokens, k, x.shape[1]]).mul(weights.expandDims(2)).sum(1);
  };
}

type HostRouting = ReturnType<typeof routeOnHost>;

/** The k largest logits of each token, ties to the lower expert; where each (token, choice) pair goes when sorted by expert. */
function routeOnHost(logits: Float32Array, tokens: number, experts: number, k: number) {
  const chosen = new Int32Array(tokens * k);
  for (let t = 0; t < tokens; t++) {
    const mine = logits.subarray(t * experts, (t + 1) * experts);
    for (let j = 0; j < k; j++) {
      let best = -1;
      for (let e = 0; e < experts; e++) {
        if (chosen.subarray(t * k, t * k + j).includes(e)) continue;
        if (best < 0 || mine[e] > mine[best]) best = e;
      }
      chosen[t * k + j] = best;
    }
  }
  const sizes = new Int32Array(experts);
  for (const e of chosen) sizes[e]++;
  const next = new Int32Array(experts);
  for (let e = 1; e < experts; e++) next[e] = next[e - 1] + sizes[e - 1];
  const row = chosen.map((e) => next[e]++);
  const order = new Int32Array(tokens * k);
  row.forEach((r, slot) => (order[r] = slot));
  return { chosen, sizes, row, order, token: order.map((slot) => Math.floor(slot / k)) };
}

export function mixture(tf: TensorFlow) {
  const layer = mixtureLayer(tf);
  const product = productOf(tf);
  const layerInputs = (dim: number, hidden: number, experts: number, tokens: number, seed: number): Tensor[] => [
    drawn(tf, [tokens, dim], seed, 0),
    drawn(tf, [dim, experts], seed, 1, dim ** -0.5),
    drawn(tf, [experts, dim, hidden], seed, 2, dim ** -0.5),
    drawn(tf, [experts, dim, hidden], seed, 3, dim ** -0.5),
    drawn(tf, [experts, hidden, dim], seed, 4, hidden ** -0.5),
  ];
  return {
    moe({ tokens, dim, hidden, experts, k }, seed) {
      const inputs = layerInputs(dim, hidden, experts, tokens, seed);
      const ct = drawn(tf, [tokens, dim], seed, 5);
      const make = (routed?: HostRouting) => {
        const f = (x: Tensor, ...weights: Tensor[]): Tensor =>
          layer(x as Tensor2D, weights as unknown as LayerWeights, k, routed);
        const [y, [dx, dgate, dw1, dw3, dw2]] = valueAndPullback(tf, f, inputs, ct);
        return { y, dx, dgate, dw1, dw3, dw2 };
      };
      if (tf.getBackend() !== "webgpu") return taskOf(tf, () => make(), [...inputs, ct]);
      return asyncTaskOf(tf, async () => {
        const logits = tf.matMul(inputs[0], inputs[1]);
        const routed = routeOnHost((await logits.data()) as Float32Array, tokens, experts, k);
        logits.dispose();
        return tf.tidy(() => make(routed));
      }, [...inputs, ct]);
    },
    dense({ tokens, dim, hidden }, seed) {
      const inputs = [
        drawn(tf, [tokens, dim], seed, 0),
        drawn(tf, [dim, hidden], seed, 2, dim ** -0.5),
        drawn(tf, [dim, hidden], seed, 3, dim ** -0.5),
        drawn(tf, [hidden, dim], seed, 4, hidden ** -0.5),
      ];
      const ct = drawn(tf, [tokens, dim], seed, 5);
      const f = (x: Tensor, w1: Tensor, w3: Tensor, w2: Tensor): Tensor => {
        const inner = product(x, w1);
        return product(inner.mul(inner.sigmoid()).mul(product(x, w3)), w2);
      };
      const make = () => {
        const [y, [dx, dw1, dw3, dw2]] = valueAndPullback(tf, f, inputs, ct);
        return { y, dx, dw1, dw3, dw2 };
      };
      return taskOf(tf, make, [...inputs, ct]);
    },
  } satisfies TaskMakers;
}
