import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DeviceError, init, shutdown } from "@switchyard/tensor";
import { adamw, treeLeaves } from "@switchyard/autograd";
import { randomBatches, train, transformer } from "@switchyard/moe";
import { afterAll, beforeAll, expect, test } from "vitest";

/** The newest device that the backend opened, caught on its way so that a test can lose it. */
let device: GPUDevice;
let dir: string;

beforeAll(async () => {
  const { globals } = (await import("webgpu")) as unknown as { globals: { GPUAdapter: { prototype: GPUAdapter } } };
  const { prototype } = globals.GPUAdapter;
  // oxlint-disable-next-line typescript/unbound-method -- called on the adapter below
  const original = prototype.requestDevice;
  prototype.requestDevice = async function (this: GPUAdapter, descriptor?: GPUDeviceDescriptor) {
    device = await original.call(this, descriptor);
    return device;
  };
  dir = await mkdtemp(join(tmpdir(), "switchyard-"));
  await init("webgpu");
});
afterAll(async () => {
  await shutdown();
  await rm(dir, { recursive: true });
});

const text = Int32Array.from({ length: 300 }, (_, i) => (i * i) % 11);
const model = transformer({ vocab: 11, dim: 8, layers: 1, heads: 2, hidden: 8, context: 6, moe: { experts: 4, k: 2 } });
const options = () => ({
  model,
  data: randomBatches(text, { batch: 4, context: 6 }, 1),
  optimizer: adamw({ learningRate: 1e-2 }),
  steps: 6,
});

test("a run whose device is lost in the middle of a step keeps its last checkpoint, and goes on from it to the same end", async () => {
  const whole = await train(options()).finish();
  const wanted = await Promise.all(treeLeaves(whole.params).map((t) => t.data()));

  const kept = { ...options(), checkpoint: { dir: join(dir, "run"), every: 2 } };
  const run = async (): Promise<void> => {
    for await (const { step } of train(kept)) if (step === 3) setImmediate(() => device.destroy());
  };
  await expect(run()).rejects.toThrow(DeviceError);
  expect(await readdir(kept.checkpoint.dir)).toContain("step-4");

  await init("webgpu");
  const resumed = await train({ ...kept, data: options().data, resume: true }).finish();
  expect([resumed.step, resumed.loss]).toEqual([whole.step, whole.loss]);
  expect(await Promise.all(treeLeaves(resumed.params).map((t) => t.data()))).toEqual(wanted);
});
