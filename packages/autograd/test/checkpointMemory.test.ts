import { init, memory, random, realize, shutdown, type Tensor } from "@switchyard/tensor";
import { checkpoint, grad } from "@switchyard/autograd";
import { expect, test } from "vitest";

const [rows, width, blocks, depth] = [2048, 64, 8, 8];
const layers = (x: Tensor, w: Tensor): Tensor => {
  for (let i = 0; i < depth; i++) x = x.matmul(w).sin();
  return x;
};

/** The gradient through blocks of layers, and how far the device's memory had to grow for it, in MiB. */
async function gradientThrough(block: typeof layers): Promise<{ grads: unknown; grown: number }> {
  await init("wasm");
  const w = random.normal(random.key(0), [width, width]).mul(0.1);
  const x = random.normal(random.key(1), [rows, width]);
  await realize({ w, x });
  const loss = (v: Tensor): Tensor => {
    let y: Tensor = x;
    for (let i = 0; i < blocks; i++) y = block(y, v);
    return y.sum();
  };
  const grads = await grad(loss)(w).data();
  const { liveBytes, poolBytes } = memory();
  await shutdown();
  return { grads, grown: (liveBytes + poolBytes) / 2 ** 20 };
}

test("64 layers, in checkpoints of 8, have the same gradient bit for bit in under half of the memory", async () => {
  const plain = await gradientThrough(layers);
  const saving = await gradientThrough(checkpoint(layers));
  expect(saving.grads).toEqual(plain.grads);
  const activation = (rows * width * 4) / 2 ** 20;
  expect(plain.grown).toBeGreaterThan(blocks * depth * activation);
  expect(saving.grown).toBeLessThan(plain.grown / 2);
});
