import { afterEach, expect, test, vi } from "vitest";
import { wasmBackend } from "../../../src/backend/wasm/backend.ts";
import {
  argsort,
  gather,
  init,
  memory,
  random,
  realize,
  scatterAdd,
  shutdown,
  softmax,
  tensor,
  topK,
  type DeviceName,
  type Tensor,
} from "../../../src/index.ts";

afterEach(shutdown);

const noise = (seed: number, shape: number[], device: DeviceName): Tensor<"f32"> =>
  random.normal(random.key(seed).to(device), shape) as Tensor<"f32">;

/** A step of everything: products, a row softmax, routing, a permutation, a scatter and reductions. */
function everything(device: DeviceName): Tensor[] {
  const [x, w, b] = [noise(0, [96, 64], device), noise(1, [64, 80], device), noise(2, [80], device)];
  const y = softmax(x.matmul(w).add(b).mul(0.3), -1);
  const { values, indices } = topK(y, 3);
  const order = argsort(indices.reshape([-1]));
  const rows = gather(y.reshape([-1]), order);
  const sums = scatterAdd(values.sum(0).mul(0), indices.slice([0, 4], 0).mod(3), values.slice([0, 4], 0));
  return [y, values, rows, sums, y.cumsum(0), x.argMax(-1), indices];
}

async function dataOf(tensors: readonly Tensor[]): Promise<number[][]> {
  await realize([...tensors]);
  return Promise.all(tensors.map(async (t) => Array.from(await t.data())));
}

test("a graph of many kernels gives on wasm what it gives on cpu", async () => {
  const wanted = await dataOf(everything("cpu"));
  const got = await dataOf(everything("wasm"));
  wanted.forEach((array, i) => {
    expect(got[i].length).toBe(array.length);
    array.forEach((x, j) => expect(Math.abs(got[i][j] - x)).toBeLessThan(1e-5));
  });
});

test("0, 1, 2 and 4 threads give the same bits", async () => {
  let wanted: number[][] | undefined;
  for (const threads of [0, 1, 2, 4]) {
    await init("wasm", { threads });
    const got = await dataOf(everything("wasm"));
    wanted ??= got;
    expect(got).toEqual(wanted);
    await shutdown();
  }
});

test("a hundred training steps hold the memory where the first few left it", async () => {
  await init("wasm", { threads: 2 });
  let w: Tensor<"f32"> = await realize(noise(0, [200, 200], "wasm"));
  const pools: number[] = [];
  for (let step = 0; step < 100; step++) {
    pools.push(memory("wasm").poolBytes);
    using x = tensor(
      Array.from({ length: 200 }, (_, i) => Array.from({ length: 200 }, (_, j) => Math.sin(i * j + step))),
      { device: "wasm" },
    );
    const next = w.sub(x.matmul(w).mul(1e-4)) as Tensor<"f32">;
    await realize(next, { donate: w });
    w = next;
  }
  expect(pools[99]).toBe(pools[10]);
  expect(Array.from(await w.data()).every(Number.isFinite)).toBe(true);
});

test("what is uploaded while programs are in flight is what later programs read", async () => {
  await init("wasm", { threads: 2 });
  const ones = await realize(noise(0, [300, 300], "wasm").mul(0).add(1));
  const sums: Tensor[] = [];
  for (let step = 0; step < 30; step++) {
    using x = tensor(new Float32Array(90_000).fill(step), { shape: [300, 300], device: "wasm" });
    const sum = ones.matmul(x).sum();
    sums.push(sum);
    void realize(sum);
    // The request leaves this turn of the event loop; the program is still running when the next upload happens.
    await Promise.resolve();
    await new Promise((resolve) => setImmediate(resolve));
  }
  for (const [step, sum] of sums.entries()) expect(await sum.item()).toBe(300 ** 3 * step);
});

test("a read of what is there does not wait for work under way", async () => {
  await init("wasm", { threads: 2 });
  const made = await realize(noise(0, [300, 300], "wasm"));
  let product: Tensor = made;
  for (let i = 0; i < 30; i++) product = product.matmul(made).mul(0.01);
  const ended: string[] = [];
  const working = realize(product).then(() => ended.push("work"));
  await new Promise((resolve) => setImmediate(resolve));
  await Promise.all([working, made.data().then(() => ended.push("read"))]);
  expect(ended).toEqual(["read", "work"]);
});

test("a read keeps its elements when the tensor is donated before it has them", async () => {
  await init("wasm", { threads: 2 });
  const made = noise(0, [300, 300], "wasm").mul(0).add(2);
  void realize(made);
  const reading = made.data();
  const next = made.mul(10);
  await realize(next, { donate: made });
  expect((await reading)[7]).toBe(2);
  expect((await next.data())[7]).toBe(20);
});

test("bool crosses over in 32 bits and comes back in bytes", async () => {
  const backend = await wasmBackend({ threads: 0 });
  const block = backend.upload(Uint8Array.of(1, 0, 1), "bool");
  expect(await backend.read(block, "bool", 3)).toEqual(Uint8Array.of(1, 0, 1));
  await backend.shutdown();
});

test("what does not fit is a DeviceError that names the largest owners, and the device goes on", async () => {
  await init("wasm", { threads: 0 });
  const held = await realize(noise(0, [1000, 1000], "wasm"));
  const huge = held
    .sum()
    .expandDims(0)
    .broadcastTo([3 << 28])
    .add(1);
  const more = huge.mul(2);
  await expect(realize([huge, more])).rejects.toThrow(/^wasm: out of memory: .* Largest owners: .* MiB/);
  expect(await held.sum().item()).toBeTypeOf("number");
});

test("threads must be a whole number", async () => {
  await expect(wasmBackend({ threads: -1 })).rejects.toThrow("threads must be an integer from 0 up, got -1");
  await expect(wasmBackend({ threads: 1.5 })).rejects.toHaveProperty("name", "ConfigError");
});

test("relaxed SIMD can be left alone, and cannot be had where there is none", async () => {
  const backend = await wasmBackend({ threads: 0, relaxedSimd: false });
  expect(backend.details.relaxedSimd).toBe(false);
  await backend.shutdown();
  const validate = vi.spyOn(WebAssembly, "validate").mockReturnValue(false);
  await expect(wasmBackend({ relaxedSimd: true })).rejects.toThrow(/^wasm: this engine has no relaxed SIMD/);
  validate.mockRestore();
});
