import { init, shutdown, type DeviceName, type InitOptions, type TypedArray } from "@switchyard/tensor";
import { adamw, clipByGlobalNorm, treeLeaves, warmupCosine, type Optimizer } from "@switchyard/autograd";
import { randomBatches, train } from "@switchyard/moe";
import { characterModel, readText, readyCorpus } from "../../src/cli/languageModel.ts";
import { afterAll, expect, test } from "vitest";

afterAll(() => shutdown());

/** The demo's sizes take long on a software adapter; SWITCHYARD_GPU_KERNELS=software is faster there. */
const { batch, ...sizes } = process.env.SWITCHYARD_DEEP
  ? { dim: 128, layers: 4, heads: 4, hidden: 256, context: 128, batch: 16 }
  : { dim: 32, layers: 4, heads: 4, hidden: 64, context: 32, batch: 4 };

const { tokenizer, train: text } = readyCorpus(await readText(null), sizes.context);

interface Trained {
  readonly losses: readonly number[];
  readonly parameters: readonly TypedArray[];
}

/** The first steps of the demo: its text, its model, its optimizer, its batches. */
async function trained(device: DeviceName, steps: number, options?: InitOptions): Promise<Trained> {
  await init(device, options);
  const model = characterModel(tokenizer.size, { ...sizes, experts: 8, k: 2, activation: "relu" });
  const rule = adamw({ learningRate: warmupCosine({ peak: 4e-3, warmup: 50, steps: 1000 }), weightDecay: 0.1 });
  const optimizer: Optimizer<ReturnType<typeof rule.init>> = {
    init: (params) => rule.init(params),
    update: (params, grads, state) => rule.update(params, clipByGlobalNorm(grads, 1), state),
  };
  const data = randomBatches(text, { batch, context: sizes.context }, 0);
  const losses: number[] = [];
  const run = train({ model, data, optimizer, steps });
  for await (const { loss } of run) losses.push(loss);
  const { params } = await run.finish();
  return { losses, parameters: await Promise.all(treeLeaves(params).map((t) => t.data())) };
}

/** How far the losses are from others by each step, relative, at the most. */
function farthest({ losses }: Trained, others: Trained): number[] {
  let most = 0;
  return losses.map((loss, step) => (most = Math.max(most, Math.abs(loss / others.losses[step] - 1))));
}

// Routing is chaotic: where two experts are nearly as good, a rounding decides. How much that may be is what it makes of wasm itself.
test(
  "the demo's losses over fifty steps are within 1e-3 of those of wasm, or within twice what other rounding does to these",
  {
    timeout: 3_600_000,
  },
  async () => {
    const steps = 50;
    const wasm = await trained("wasm", steps);
    await shutdown();
    const unfused = farthest(await trained("wasm", steps, { relaxedSimd: false }), wasm);
    const webgpu = farthest(await trained("webgpu", steps), wasm);
    expect(wasm.losses[steps - 1]).toBeLessThan(wasm.losses[0]);
    const beyond = webgpu.flatMap((far, step) =>
      far <= Math.max(1e-3, 2 * unfused[step]) ? [] : [{ step, far, unfused: unfused[step] }],
    );
    expect(beyond).toEqual([]);
  },
);

test("two runs have the same bits, losses and parameters", async () => {
  const first = await trained("webgpu", 3);
  expect(await trained("webgpu", 3)).toEqual(first);
});
