import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { init, profile, random, realize, shutdown, softmax, tensor, type Tensor } from "../../../src/index.ts";
import { openedDevices } from "./openedDevices.ts";

let device: GPUDevice;

beforeAll(async () => {
  const opened = await openedDevices();
  await init("webgpu");
  [device] = opened;
});
afterAll(() => shutdown());

const step = (w: Tensor, x: Tensor): Tensor[] => {
  const y = softmax(x.matmul(w).add(1).gelu(), -1);
  return [y, y.sum(0), y.cumsum(1), y.transpose().sort(-1)];
};

test("everything that the device is asked to make has a label", async () => {
  const made = [
    vi.spyOn(device, "createBuffer"),
    vi.spyOn(device, "createShaderModule"),
    vi.spyOn(device, "createComputePipelineAsync"),
    vi.spyOn(device, "createPipelineLayout"),
    vi.spyOn(device, "createBindGroupLayout"),
    vi.spyOn(device, "createBindGroup"),
    vi.spyOn(device, "createCommandEncoder"),
    vi.spyOn(device, "createQuerySet"),
  ];
  const [w, x] = [random.normal(random.key(1), [40, 70]), random.normal(random.key(2), [50, 40])];
  await profile(() => Promise.all(step(w, x).map((t) => t.data())));
  const labels = made.map((spy) => spy.mock.calls.map(([descriptor]) => descriptor?.label));
  vi.restoreAllMocks();
  expect(labels.map((list) => list.length > 0)).toEqual(made.map(() => true));
  for (const label of labels.flat()) expect(label).toMatch(/\w/);
});

test("pipelines compile at the same time, none while the program waits, and none twice", async () => {
  let [compiling, most] = [0, 0];
  // oxlint-disable-next-line typescript/unbound-method -- called on the device below
  const compile = device.createComputePipelineAsync;
  const compiled = vi.spyOn(device, "createComputePipelineAsync").mockImplementation(async (descriptor) => {
    most = Math.max(most, ++compiling);
    return compile.call(device, descriptor).finally(() => compiling--);
  });
  const waited = vi.spyOn(device, "createComputePipeline");
  const x = await realize(tensor([[3, 1, 2]]));
  const several = (): Tensor[] => [
    x.sin().sum(),
    x.argsort(),
    x.cumprod(1),
    x.matmul(x.transpose()).tan(),
    x.argMax(1),
  ];
  await realize(several());
  const first = compiled.mock.calls.length;
  await realize(several());
  const other = await realize(tensor([[3, 1, 2, 4]]));
  await realize([other.sin().sum(), other.argMax(1)]);
  expect([most >= 4, first >= 4, compiled.mock.calls.length, waited.mock.calls.length]).toEqual([true, true, first, 0]);
  vi.restoreAllMocks();
});

test("a realize is one submission, however many kernels it takes", async () => {
  const submit = vi.spyOn(device.queue, "submit");
  const [w, x] = [random.normal(random.key(1), [40, 70]), random.normal(random.key(2), [50, 40])];
  await realize(step(w, x));
  expect(submit).toHaveBeenCalledTimes(1);
  vi.restoreAllMocks();
});

test("a profile's times are those of the adapter's clock: more work takes longer, and no more than there was", async () => {
  const products = async (n: number): Promise<{ ms: number; wall: number }> => {
    const x = await realize(random.normal(random.key(1), [n, n]));
    await realize(x.matmul(x));
    const began = performance.now();
    const { kernels } = await profile(() => realize(x.matmul(x)));
    return { ms: kernels.reduce((sum, { ms }) => sum + ms, 0), wall: performance.now() - began };
  };
  const [small, large] = [await products(32), await products(320)];
  expect(small.ms).toBeGreaterThan(0);
  expect(large.ms).toBeGreaterThan(2 * small.ms);
  expect(large.ms).toBeLessThan(large.wall);
});

test("a kernel of more inputs than a stage may bind is split, and adds them all", async () => {
  const { maxStorageBuffersPerShaderStage } = device.limits;
  const terms = await realize(
    Array.from({ length: 2 * maxStorageBuffersPerShaderStage }, (_, i) => tensor([i, 1]).add(0)),
  );
  const bound = vi.spyOn(device, "createBindGroup");
  const sum = await terms.reduce((a, b) => a.add(b)).data();
  const n = terms.length;
  expect([...sum]).toEqual([(n * (n - 1)) / 2, n]);
  for (const [{ entries }] of bound.mock.calls)
    expect([...entries].length - 1).toBeLessThanOrEqual(maxStorageBuffersPerShaderStage);
  vi.restoreAllMocks();
});
