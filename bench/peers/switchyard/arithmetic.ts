import { gelu, groupedMatmul, layerNorm, ones, softmax, tensor, zeros } from "@switchyard/tensor";
import { vjp } from "@switchyard/autograd";
import { drawOffsets } from "../../runner/random.ts";
import type { TaskMakers } from "../../tasks.ts";
import { drawn, taskOf } from "./ready.ts";

export const arithmetic = {
  matmul({ n }, seed) {
    const [a, b] = [drawn([n, n], seed, 0), drawn([n, n], seed, 1)];
    return taskOf(() => ({ y: a.matmul(b) }));
  },
  softmax({ rows, cols }, seed) {
    const [x, ct] = [drawn([rows, cols], seed, 0), drawn([rows, cols], seed, 1)];
    return taskOf(() => {
      const [y, pullback] = vjp((t: typeof x) => softmax(t, -1), x);
      const [dx] = pullback(ct);
      return { y, dx };
    });
  },
  layerNorm({ rows, cols }, seed) {
    const [x, ct] = [drawn([rows, cols], seed, 0), drawn([rows, cols], seed, 1)];
    const [scale, shift] = [ones([cols]), zeros([cols])];
    return taskOf(() => {
      const [y, pullback] = vjp((t: typeof x, s: typeof x, b: typeof x) => layerNorm(t, s, b), x, scale, shift);
      const [dx, dscale, dshift] = pullback(ct);
      return { y, dx, dscale, dshift };
    });
  },
  gelu({ size }, seed) {
    const [x, ct] = [drawn([size], seed, 0), drawn([size], seed, 1)];
    return taskOf(() => {
      const [y, pullback] = vjp((t: typeof x) => gelu(t), x);
      const [dx] = pullback(ct);
      return { y, dx };
    });
  },
  chain({ size }, seed) {
    const [a, b, c] = [drawn([size], seed, 0), drawn([size], seed, 1), drawn([size], seed, 2)];
    return taskOf(() => ({ y: a.mul(b).add(c).square().add(1).sqrt() }));
  },
  sum({ rows, cols }, seed) {
    const x = drawn([rows, cols], seed, 0);
    return taskOf(() => ({ y: x.sum(1) }));
  },
  groupedMatmul({ groups, rows, inner, cols }, seed) {
    const [x, w] = [drawn([rows, inner], seed, 0), drawn([groups, inner, cols], seed, 1)];
    const ct = drawn([rows, cols], seed, 2);
    const offsets = tensor(drawOffsets(groups, rows, seed), { dtype: "i32" });
    return taskOf(() => ({
      y: groupedMatmul(x, w, offsets),
      dw: groupedMatmul(x, ct, offsets, { mode: "contract" }),
    }));
  },
} satisfies TaskMakers;
