import { jit, nn, numpy as np, vjp } from "@jax-js/jax";
import { drawOffsets } from "../../runner/random.ts";
import type { TaskMakers } from "../../tasks.ts";
import { drawn, taskOf, type JaxArray } from "./ready.ts";

const layerNorm = (x: JaxArray, scale: JaxArray, shift: JaxArray): JaxArray =>
  nn.standardize(x, -1, { epsilon: 1e-5 }).mul(scale).add(shift);

export const arithmetic = {
  matmul: ({ n }, seed) =>
    taskOf(
      jit((a: JaxArray, b: JaxArray) => ({ y: np.matmul(a, b) })),
      [drawn([n, n], seed, 0), drawn([n, n], seed, 1)],
    ),
  softmax({ rows, cols }, seed) {
    const compiled = jit((x: JaxArray, ct: JaxArray) => {
      const [y, pullback] = vjp((t: JaxArray) => nn.softmax(t, -1), [x]);
      const [dx] = pullback(ct);
      return { y, dx };
    });
    return taskOf(compiled, [drawn([rows, cols], seed, 0), drawn([rows, cols], seed, 1)]);
  },
  layerNorm({ rows, cols }, seed) {
    const compiled = jit((x: JaxArray, scale: JaxArray, shift: JaxArray, ct: JaxArray) => {
      const [y, pullback] = vjp(layerNorm, [x, scale, shift]);
      const [dx, dscale, dshift] = pullback(ct);
      return { y, dx, dscale, dshift };
    });
    const [x, ct] = [drawn([rows, cols], seed, 0), drawn([rows, cols], seed, 1)];
    return taskOf(compiled, [x, np.ones([cols]), np.zeros([cols]), ct]);
  },
  gelu({ size }, seed) {
    const compiled = jit((x: JaxArray, ct: JaxArray) => {
      const [y, pullback] = vjp((t: JaxArray) => nn.gelu(t, { approximate: false }), [x]);
      const [dx] = pullback(ct);
      return { y, dx };
    });
    return taskOf(compiled, [drawn([size], seed, 0), drawn([size], seed, 1)]);
  },
  chain({ size }, seed) {
    const compiled = jit((a: JaxArray, b: JaxArray, c: JaxArray) => ({
      y: np.sqrt(np.square(a.mul(b).add(c)).add(1)),
    }));
    return taskOf(
      compiled,
      [0, 1, 2].map((stream) => drawn([size], seed, stream)),
    );
  },
  sum: ({ rows, cols }, seed) =>
    taskOf(
      jit((x: JaxArray) => ({ y: x.sum(1) })),
      [drawn([rows, cols], seed, 0)],
    ),
  /** A product for each group, compiled for these offsets. */
  groupedMatmul({ groups, rows, inner, cols }, seed) {
    const offsets = drawOffsets(groups, rows, seed);
    const part = (t: JaxArray, g: number): JaxArray => t.slice([offsets[g], offsets[g + 1]]);
    const all = Array.from({ length: groups }, (_, g) => g).filter((g) => offsets[g + 1] > offsets[g]);
    const compiled = jit((x: JaxArray, w: JaxArray, ct: JaxArray) => {
      const y = np.concatenate(all.map((g) => np.matmul(part(x.ref, g), w.ref.slice(g))));
      const products = Array.from({ length: groups }, (_, g) =>
        all.includes(g) ? np.matmul(part(x.ref, g).transpose(), part(ct.ref, g)) : np.zeros([inner, cols]),
      );
      for (const t of [x, w, ct]) t.dispose();
      return { y, dw: np.stack(products) };
    });
    return taskOf(compiled, [
      drawn([rows, inner], seed, 0),
      drawn([groups, inner, cols], seed, 1),
      drawn([rows, cols], seed, 2),
    ]);
  },
} satisfies TaskMakers;
