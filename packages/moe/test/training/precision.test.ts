import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DeviceError, full, init, ones, random, tensor, type Key, type Tensor } from "@switchyard/tensor";
import { adamw, cosine, grad, sgd, treeLeaves, treePaths } from "@switchyard/autograd";
import {
  hashRouter,
  lstmMoe,
  randomBatches,
  softmaxTopK,
  switchTransformer,
  train,
  transformer,
} from "@switchyard/moe";
import { afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { rotary } from "../../src/layers/rotary.ts";
import { loadCheckpoint, loadTraining } from "../../src/training/checkpoint.ts";
import { checkpointOfStep } from "../../src/training/history.ts";
import { ifTaken, inHalves, judged, type Precision } from "../../src/training/lossScale.ts";
import { metricsLog } from "../../src/training/runLog.ts";

let dir: string;
beforeAll(() => init("cpu"));
beforeEach(async () => void (dir = await mkdtemp(join(tmpdir(), "switchyard-"))));
afterEach(() => rm(dir, { recursive: true }));

const ids = Int32Array.from({ length: 300 }, (_, i) => (i * i) % 11);
const model = transformer({ vocab: 11, dim: 8, layers: 1, heads: 2, hidden: 8, context: 6, moe: { experts: 4, k: 2 } });
const languageOptions = (steps: number, precision: Precision) => ({
  model,
  data: randomBatches(ids, { batch: 4, context: 6 }, 1),
  optimizer: adamw({ learningRate: 1e-2, weightDecay: 0.1 }),
  steps,
  seed: 7,
  precision,
});

/** `w · slope`, as a model in f16 computes it: the gradient on its way is `slope` times the scale, in f16. */
const slope = {
  init: (_key: Key) => ({ w: ones([]) }),
  loss: (p: { w: Tensor }, x: Tensor) => ({ loss: p.w.mul(x.cast(p.w.dtype)).cast("f32") }),
};

interface Seen {
  readonly loss: number;
  readonly lossScale?: number;
}
async function seen(run: AsyncIterable<Seen>): Promise<Seen[]> {
  const all: Seen[] = [];
  for await (const { loss, lossScale } of run) all.push({ loss, lossScale });
  return all;
}
const bits = (tree: unknown) => Promise.all(treeLeaves(tree).map((t) => t.data()));

describe("training in f16", () => {
  test("learns as in f32: losses of twenty steps are within 0.2 % of each other, and not the same", async () => {
    const [half, single] = [
      await seen(train(languageOptions(20, "f16"))),
      await seen(train(languageOptions(20, "f32"))),
    ];
    const errors = half.map(({ loss }, i) => Math.abs(loss / single[i].loss - 1));
    expect(Math.max(...errors)).toBeLessThan(2e-3);
    expect(Math.max(...errors)).toBeGreaterThan(0);
    expect(half.at(-1)!.loss).toBeLessThan(half[0].loss - 0.3);
    expect(single[0].lossScale).toBeUndefined();
  });

  test("keeps parameters and the optimizer's state in f32", async () => {
    const { params } = await train({ ...languageOptions(2, "f16"), checkpoint: { dir, every: 2 } }).finish();
    expect(new Set(treeLeaves(params).map((t) => t.dtype))).toEqual(new Set(["f32"]));
    const state = languageOptions(2, "f16").optimizer.init(params);
    await loadTraining(dir, { state }); // which checks dtypes
  });

  test("casts all but routers and norms, and routers decide in f32 on features in f16", () => {
    const params = inHalves(model.init(random.key(0)), model.keepsF32);
    const paths = treePaths(params);
    const single = treeLeaves(params).flatMap((t, i) => (t.dtype === "f32" ? [paths[i]] : []));
    expect(single).toEqual([
      "layers.0.attentionNorm.scale",
      "layers.0.norm.scale",
      "layers.0.moe.router.gate",
      "layers.0.moe.router.noise",
      "norm.scale",
    ]);
    const { logits, routings, balance } = model.apply(params, tensor([[1, 2, 3]], { dtype: "i32" }));
    expect([logits.dtype, routings[0].probs.dtype, balance.dtype]).toEqual(["f16", "f32", "f32"]);
  });

  test("the LSTM with a mixture trains so, too", async () => {
    const lstm = lstmMoe({ vocab: 11, dim: 6, hidden: 6, experts: 3, k: 2 });
    const { loss } = await train({ ...languageOptions(2, "f16"), model: lstm }).finish();
    expect(loss).toBeLessThan(3);
  });

  test("so does the encoder and decoder of Switch, to nearly the loss of f32", async () => {
    const sizes = { vocab: 11, dim: 8, heads: 2, headDim: 4, hidden: 8, experts: 2, capacity: 4, buckets: 4 };
    const layers = { encoderLayers: 2, decoderLayers: 2, encoderSparseEvery: 2, decoderSparseEvery: 2 };
    const one = switchTransformer({ ...sizes, ...layers, maxDistance: 8, normEps: 1e-6, jitter: 0.01, tie: true });
    const data = (step: number) => {
      const inputs = random.randint(random.key(step), [4, 5], { min: 1, max: 11 });
      return { inputs, decoded: inputs, targets: inputs };
    };
    const lossIn = async (precision: Precision) =>
      (await train({ ...languageOptions(3, precision), model: one, data }).finish()).loss;
    expect(Math.abs((await lossIn("f16")) / (await lossIn("f32")) - 1)).toBeLessThan(5e-3);
  });

  const moe = { experts: 4, k: 2 };
  test.each<[string, object]>([
    ["norms by layer, learned positions and tied tables", { norm: "layer", rope: false, tie: true, moe }],
    ["norms of queries, and no mixture", { qkNorm: true, moe: null }],
    ["every expert for every token, and a shared one", { moe: { ...moe, dispatch: "dense", sharedExperts: 1 } }],
    ["a capacity, and swiglu", { activation: "swiglu", moe: { ...moe, dispatch: { capacityFactor: 1 } } }],
    ["a router with jitter", { moe: { experts: 4, router: softmaxTopK({ k: 2, jitter: 0.1 }) } }],
    ["a router without parameters", { moe: { experts: 4, router: hashRouter() } }],
  ])("so does a transformer with %s, to nearly the loss of f32", async (_, kind) => {
    const one = transformer({ vocab: 11, dim: 8, layers: 1, heads: 2, hidden: 8, context: 6, moe, ...kind });
    const lossIn = async (precision: Precision) =>
      (await train({ ...languageOptions(3, precision), model: one }).finish()).loss;
    expect(Math.abs((await lossIn("f16")) / (await lossIn("f32")) - 1)).toBeLessThan(5e-3);
  });

  test("a gradient that underflows without a scale arrives with it", async () => {
    const tiny = {
      ...slope,
      loss: (p: { w: Tensor }) => ({ loss: p.w.mul(1e-4).mul(1e-4).cast("f32") }),
    };
    const unscaled = grad((p: { w: Tensor }) => tiny.loss(inHalves(p)))({ w: ones([]) });
    expect(await unscaled.w.item()).toBe(0);
    const data = () => tensor(0);
    const optimizer = sgd({ learningRate: 1e7 });
    const { params } = await train({ model: tiny, data, optimizer, steps: 1, precision: "f16" }).finish();
    expect(await params.w.item()).toBeCloseTo(0.9, 3);
  });

  test("a step that overflows changes no bit of parameters, state, its count of updates and average, and halves the scale", async () => {
    const optimizer = adamw({ learningRate: 0.1, weightDecay: 0.1 });
    const data = (step: number) => tensor(step === 2 ? 8 : 1);
    const keeping = { checkpoint: { dir, every: 1, keep: 9 }, ema: 0.9, clip: 1 };
    const run = train({ model: slope, data, optimizer, steps: 4, precision: "f16", ...keeping });
    expect((await seen(run)).map(({ lossScale }) => lossScale)).toEqual([2 ** 15, 2 ** 15, 2 ** 14, 2 ** 14]);
    const params = slope.init(random.key(0));
    const after = async (steps: number) => {
      const at = checkpointOfStep(dir, steps);
      const training = await loadTraining(at, { state: optimizer.init(params), average: params });
      return [training.state.step, ...(await bits([await loadCheckpoint(at, params), training]))];
    };
    expect(await after(3)).toEqual(await after(2));
    expect(await after(4)).not.toEqual(await after(3));
    const notes = await metricsLog.read(dir);
    expect(notes.map(({ lossScale }) => lossScale)).toEqual([2 ** 15, 2 ** 15, 2 ** 14, 2 ** 14]);
    expect(notes.map(({ gradientNorm }) => gradientNorm)).toEqual([1, 1, undefined, 1]);
  });

  test("a run with steps that overflow is, bit for bit, the run without them: moments, corrections and schedule know nothing of them", async () => {
    const batches = [8, 0.5, 1, 8, 0.25, 0.75, 8];
    const optimizer = adamw({ learningRate: cosine({ peak: 0.5, steps: 8 }), weightDecay: 0.1 });
    const options = { model: slope, optimizer, precision: "f16" as const, accumulate: 2 };
    const runOn = (xs: readonly number[], at: string, resume = false) =>
      train({
        ...options,
        data: (batch) => tensor(xs[batch >> 1]),
        steps: xs.length,
        checkpoint: { dir: join(dir, at), every: 1 },
        resume,
      });
    const without = await runOn([0.5, 1, 0.25, 0.75], "without").finish();
    for await (const { step } of runOn(batches, "with")) if (step === 3) break; // right after one that overflowed
    const { params, step } = await runOn(batches, "with", true).finish();
    expect([step, await params.w.item()]).toEqual([6, await without.params.w.item()]);
    const state = optimizer.init(params);
    const [one, other] = await Promise.all(["with", "without"].map((at) => loadTraining(join(dir, at), { state })));
    expect(one.state.step).toBe(4);
    expect(await bits(one)).toEqual(await bits(other));
    const rates = (await metricsLog.read(join(dir, "with"))).map(({ learningRate }) => learningRate);
    expect(rates).toEqual([0, 0, 1, 2, 2, 3, 4].map(cosine({ peak: 0.5, steps: 8 })));
  });

  test("two hundred good steps double the scale, up to 2^24; at 1 it stays, and the step is taken", async () => {
    const at = (scale: number, good: number) => ({ scale: full([], scale), good: full([], good, { dtype: "i32" }) });
    const verdict = async (g: number, scale: number, good: number) => {
      const { lossScale, taken } = judged([tensor(1), tensor(g)], at(scale, good));
      return [
        await lossScale.scale.item(),
        await lossScale.good.item(),
        await ifTaken(taken, tensor(5), tensor(4)).item(),
      ];
    };
    expect(await verdict(1, 8, 198)).toEqual([8, 199, 5]);
    expect(await verdict(1, 8, 199)).toEqual([16, 0, 5]);
    expect(await verdict(1, 2 ** 24, 199)).toEqual([2 ** 24, 0, 5]);
    expect(await verdict(Infinity, 8, 199)).toEqual([4, 0, 4]);
    expect(await verdict(NaN, 1, 7)).toEqual([1, 0, 5]);
  });

  test("a run that was left goes on bit for bit, with its scale", async () => {
    const options = { ...languageOptions(6, "f16"), accumulate: 2, clip: 1, ema: 0.9 };
    const whole = train(options);
    const expected = await seen(whole);
    const kept = { ...options, checkpoint: { dir, every: 100 } };
    const all: Seen[] = [];
    for await (const { step, loss, lossScale } of train(kept)) {
      all.push({ loss, lossScale });
      if (step === 2) break;
    }
    const rest = train({ ...kept, resume: true });
    expect([...all, ...(await seen(rest))]).toEqual(expected);
    const [end, again] = [await whole.finish(), await rest.finish()];
    expect(await bits([again.params, again.average])).toEqual(await bits([end.params, end.average]));
  });

  test("a scale that has changed is the one a resumed run goes on with", async () => {
    const options = {
      model: slope,
      data: (step: number) => tensor(step < 2 ? 8 : 1),
      optimizer: sgd({ learningRate: 0.1 }),
      precision: "f16" as const,
      checkpoint: { dir, every: 1 },
    };
    await train({ ...options, steps: 2 }).finish();
    const rest = await seen(train({ ...options, steps: 3, resume: true }));
    expect(rest.map(({ lossScale }) => lossScale)).toEqual([2 ** 13]);
  });

  test("a run goes on in its own precision", async () => {
    const options = { ...languageOptions(1, "f16"), checkpoint: { dir, every: 1 } };
    await train(options).finish();
    await expect(train({ ...options, precision: "f32", resume: true }).finish()).rejects.toThrow(
      /has the precision f16, not f32; resume it with its own/,
    );
  });

  test("a device without f16 is a DeviceError before anything is written", async () => {
    await init("wasm");
    try {
      const run = train({ ...languageOptions(1, "f16"), checkpoint: { dir: join(dir, "run"), every: 1 } });
      const failure: unknown = await run.finish().catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(DeviceError);
      expect(String(failure)).toMatch(
        /precision f16 needs a device that has it, but wasm has no f16; take f32, webgpu or cpu/,
      );
      await expect(metricsLog.isBegun(join(dir, "run"))).resolves.toBe(false);
    } finally {
      await init("cpu");
    }
  });
});

test("rotary positions in f16 turn by angles computed in f32", async () => {
  const positions = tensor([0, 100, 3000], { dtype: "i32" });
  const x = random.normal(random.key(1), [3, 8]);
  const [half, single] = [
    await rotary(x.cast("f16"), positions, 10_000).data(),
    await rotary(x, positions, 10_000).data(),
  ];
  half.forEach((value, i) => expect(Math.abs(value - single[i])).toBeLessThan(5e-3));
});
