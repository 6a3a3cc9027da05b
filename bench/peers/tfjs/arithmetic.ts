import type { Tensor, Tensor2D } from "@tensorflow/tfjs-core";
import { drawOffsets } from "../../runner/random.ts";
import type { TaskMakers } from "../../tasks.ts";
import type { TensorFlow } from "./load.ts";
import { drawn, taskOf, valueAndPullback } from "./ready.ts";

export function arithmetic(tf: TensorFlow) {
  const layerNorm = (x: Tensor, scale: Tensor, shift: Tensor): Tensor => {
    const { mean, variance } = tf.moments(x, -1, true);
    return x.sub(mean).mul(variance.add(1e-5).rsqrt()).mul(scale).add(shift);
  };
  const gelu = (x: Tensor): Tensor => x.mul(0.5).mul(x.mul(Math.SQRT1_2).erf().add(1));

  return {
    matmul({ n }, seed) {
      const [a, b] = [drawn(tf, [n, n], seed, 0), drawn(tf, [n, n], seed, 1)];
      return taskOf(tf, () => ({ y: tf.matMul(a, b) }), [a, b]);
    },
    softmax({ rows, cols }, seed) {
      const [x, ct] = [drawn(tf, [rows, cols], seed, 0), drawn(tf, [rows, cols], seed, 1)];
      const make = () => {
        const [y, [dx]] = valueAndPullback(tf, (t) => tf.softmax(t), [x], ct);
        return { y, dx };
      };
      return taskOf(tf, make, [x, ct]);
    },
    layerNorm({ rows, cols }, seed) {
      const [x, ct] = [drawn(tf, [rows, cols], seed, 0), drawn(tf, [rows, cols], seed, 1)];
      const [scale, shift] = [tf.ones([cols]), tf.zeros([cols])];
      const make = () => {
        const [y, [dx, dscale, dshift]] = valueAndPullback(tf, layerNorm, [x, scale, shift], ct);
        return { y, dx, dscale, dshift };
      };
      return taskOf(tf, make, [x, ct, scale, shift]);
    },
    gelu({ size }, seed) {
      const [x, ct] = [drawn(tf, [size], seed, 0), drawn(tf, [size], seed, 1)];
      const make = () => {
        const [y, [dx]] = valueAndPullback(tf, gelu, [x], ct);
        return { y, dx };
      };
      return taskOf(tf, make, [x, ct]);
    },
    chain({ size }, seed) {
      const inputs = [0, 1, 2].map((stream) => drawn(tf, [size], seed, stream));
      const [a, b, c] = inputs;
      return taskOf(tf, () => ({ y: a.mul(b).add(c).square().add(1).sqrt() }), inputs);
    },
    sum({ rows, cols }, seed) {
      const x = drawn(tf, [rows, cols], seed, 0);
      return taskOf(tf, () => ({ y: x.sum(1) }), [x]);
    },
    /** A product for each group: offsets are known to the host. */
    groupedMatmul({ groups, rows, inner, cols }, seed) {
      const [x, ct] = [drawn(tf, [rows, inner], seed, 0) as Tensor2D, drawn(tf, [rows, cols], seed, 2) as Tensor2D];
      const w = drawn(tf, [groups, inner, cols], seed, 1);
      const offsets = drawOffsets(groups, rows, seed);
      const matrices = tf.unstack(w) as Tensor2D[];
      const part = (t: Tensor2D, g: number): Tensor2D =>
        tf.slice2d(t, [offsets[g], 0], [offsets[g + 1] - offsets[g], t.shape[1]]);
      const make = () => ({
        y: tf.concat(matrices.map((m, g) => tf.matMul(part(x, g), m))),
        dw: tf.stack(matrices.map((_, g) => tf.matMul(part(x, g), part(ct, g), true))),
      });
      return taskOf(tf, make, [x, w, ct, ...matrices]);
    },
  } satisfies TaskMakers;
}
