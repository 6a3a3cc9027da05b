import { devices, init, shutdown, type DeviceName } from "@switchyard/tensor";
import { adamw } from "@switchyard/autograd";
import { randomBatches, train, transformer } from "@switchyard/moe";
import { afterAll, expect, test } from "vitest";

afterAll(() => shutdown());

const vocab = 29;
const ids = Int32Array.from({ length: 2000 }, (_, i) => (i * i + 7 * Math.floor(i / 11)) % vocab);

async function trained(device: DeviceName) {
  await init(device);
  const run = train({
    model: transformer({ vocab, dim: 16, layers: 1, heads: 2, hidden: 32, context: 12, moe: { experts: 4, k: 2 } }),
    data: randomBatches(ids, { batch: 4, context: 12 }, 0),
    optimizer: adamw({ learningRate: 4e-3, weightDecay: 0.1 }),
    steps: 3,
    clip: 1,
    precision: "f16",
  });
  const steps: { loss: number; lossScale?: number }[] = [];
  for await (const { loss, lossScale } of run) steps.push({ loss, lossScale });
  return steps;
}

test("three steps in f16 are those of cpu, and their scales", async ({ skip }) => {
  await init("webgpu");
  const { dtypes = [] } = (await devices()).find(({ name }) => name === "webgpu") ?? {};
  skip(!dtypes.includes("f16"), "the adapter has no f16");
  const [webgpu, cpu] = [await trained("webgpu"), await trained("cpu")];
  expect(webgpu.map(({ lossScale }) => lossScale)).toEqual(cpu.map(({ lossScale }) => lossScale));
  webgpu.forEach(({ loss }, step) => expect(Math.abs(loss / cpu[step].loss - 1), `step ${step}`).toBeLessThan(2e-3));
});

test("an adapter without f16 is refused before the first step", async ({ skip }) => {
  await init("webgpu");
  const { dtypes = [] } = (await devices()).find(({ name }) => name === "webgpu") ?? {};
  skip(dtypes.includes("f16"), "the adapter has f16");
  await expect(trained("webgpu")).rejects.toThrow(/this adapter of webgpu has no f16/);
});
