import { mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ConfigError, GradientError, init, memory, tensor, zeros, type Key, type Tensor } from "@switchyard/tensor";
import { adamw, sgd, treeLeaves, warmupCosine } from "@switchyard/autograd";
import { stepsIn } from "../../src/training/history.ts";
import { randomBatches, train, transformer, type TrainOptions } from "@switchyard/moe";
import { afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { killedAfter } from "./killedAfter.ts";

let dir: string;
beforeAll(() => init("cpu"));
beforeEach(async () => void (dir = await mkdtemp(join(tmpdir(), "switchyard-"))));
afterEach(() => rm(dir, { recursive: true }));

/** `w` is to become 3; the loss is exact, so that a report can be worked out by hand. */
const line = {
  init: (_key: Key) => ({ w: zeros([]) }),
  loss: (p: { w: Tensor }, x: Tensor) => ({ loss: p.w.sub(3).square().add(x.mul(0)), w: p.w.mul(1) }),
};
const lineOptions = { model: line, data: () => tensor(0), optimizer: sgd({ learningRate: 0.25 }), steps: 5 };

const ids = Int32Array.from({ length: 300 }, (_, i) => (i * i) % 11);
const model = transformer({ vocab: 11, dim: 8, layers: 1, heads: 2, hidden: 8, context: 6, moe: { experts: 4, k: 2 } });
const languageOptions = (steps: number) => ({
  model,
  data: randomBatches(ids, { batch: 4, context: 6 }, 1),
  optimizer: adamw({ learningRate: warmupCosine({ peak: 1e-2, warmup: 2, steps }), weightDecay: 0.1 }),
  steps,
  seed: 7,
});

async function losses<P, A extends { readonly loss: Tensor }>(
  run: AsyncIterable<{ step: number; loss: number; aux: A; params: P }>,
) {
  const seen: number[] = [];
  for await (const { loss } of run) seen.push(loss);
  return seen;
}

describe("train", () => {
  test("reports each step: the loss before its update, and the parameters after", async () => {
    const rows: number[][] = [];
    for await (const { step, loss, aux, params } of train(lineOptions))
      rows.push([step, loss, await aux.w.item(), await params.w.item()]);
    expect(rows.slice(0, 3)).toEqual([
      [0, 9, 0, 1.5],
      [1, 2.25, 1.5, 2.25],
      [2, 0.5625, 2.25, 2.625],
    ]);
    expect(rows.length).toBe(5);
  });

  test("finish gives the last report, also after iteration has begun or ended", async () => {
    expect((await train(lineOptions).finish()).step).toBe(4);
    const run = train(lineOptions);
    for await (const { step } of run) if (step === 2) break;
    const last = await run.finish();
    expect([last.step, await last.params.w.item()]).toEqual([2, 2.625]);
  });

  test("nothing starts before it is asked for", async () => {
    let asked = 0;
    const data = () => (asked++, tensor(0));
    const run = train({ ...lineOptions, data });
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(asked).toBe(0);
    await run.finish();
    expect(asked).toBe(5);
  });

  test("data may be a promise, and is asked for once a step, in order", async () => {
    const asked: number[] = [];
    await train({ ...lineOptions, data: async (step) => (asked.push(step), tensor(0)) }).finish();
    expect(asked).toEqual([0, 1, 2, 3, 4]);
  });

  test("a batch that every step shares stays usable", async () => {
    const shared = tensor(0);
    const echo = { ...line, loss: (p: { w: Tensor }, x: Tensor) => ({ ...line.loss(p, x), x }) };
    const last = await train({ ...lineOptions, model: echo, data: () => shared }).finish();
    expect([await shared.item(), await last.aux.x.item()]).toEqual([0, 0]);
  });

  test("afterStep has the last word on the parameters", async () => {
    const capped = { ...line, afterStep: (p: { w: Tensor }, { w }: { w: Tensor }) => ({ w: p.w.minimum(w.add(0.5)) }) };
    expect(await (await train({ ...lineOptions, model: capped, steps: 2 }).finish()).params.w.item()).toBe(1);
  });

  test("a language model learns, with flat memory", async () => {
    const seen: number[] = [];
    let flat: number | undefined;
    for await (const { step, loss } of train(languageOptions(30))) {
      seen.push(loss);
      if (step === 5) flat = memory().liveTensors;
    }
    expect(seen.at(-1)).toBeLessThan(seen[0] - 0.5);
    // What is left is the keys and numbers of batches, which the collector has yet to find.
    expect(memory().liveTensors).toBeLessThan(flat! + 60);
  });

  test.each(["f32", "f16"] as const)(
    "gradients that were added up are spent with their step, in %s",
    async (precision) => {
      const wide = {
        init: (_key: Key) => ({ w: zeros([1000]) }),
        loss: (p: { w: Tensor }, x: Tensor) => ({ loss: p.w.mul(x.cast(p.w.dtype)).cast("f32").sum() }),
      };
      const data = (batch: number): Tensor => tensor(batch % 20 === 3 ? 8 : 1); // of which the first overflows in f16
      const optimizer = sgd({ learningRate: 0.1 });
      const bytes: number[] = [];
      const before = memory().liveBytes;
      for await (const { step } of train({ model: wide, data, optimizer, steps: 12, accumulate: 3, precision }))
        bytes[step] = memory().liveBytes - before;
      // Parameters, and what the next step has added up so far.
      expect(Math.max(...bytes)).toBeLessThan(3 * 4000);
    },
  );

  test("two runs of one seed are bitwise equal, and another seed is another run", async () => {
    const first = await losses(train(languageOptions(4)));
    expect(await losses(train(languageOptions(4)))).toEqual(first);
    expect(await losses(train({ ...languageOptions(4), seed: 8 }))).not.toEqual(first);
  });

  test("a run that was stopped goes on, bit for bit, as if it never had been", async () => {
    const whole = await losses(train(languageOptions(6)));
    const options = { ...languageOptions(6), checkpoint: { dir: join(dir, "run"), every: 2 } };
    const stopper = new AbortController();
    const first: number[] = [];
    for await (const { step, loss } of train({ ...options, signal: stopper.signal })) {
      first.push(loss);
      if (step === 2) stopper.abort();
    }
    expect(first).toEqual(whole.slice(0, 3));
    expect(await stepsIn(options.checkpoint.dir)).toEqual([2, 3]);
    expect(await losses(train({ ...options, resume: true }))).toEqual(whole.slice(3));
    expect(await stepsIn(options.checkpoint.dir)).toEqual([4, 6]);
  });

  test("a run killed between checkpoints goes on from the last, to the same end", async () => {
    const end = await train(languageOptions(5)).finish();
    const options = { ...languageOptions(5), checkpoint: { dir, every: 2 } };
    await killedAfter(2, train(options), dir);
    expect(await stepsIn(dir)).toEqual([2]);
    const resumed = await train({ ...options, resume: true }).finish();
    expect([resumed.step, resumed.loss]).toEqual([end.step, end.loss]);
    for (const [i, t] of treeLeaves(resumed.params).entries())
      expect(await t.data()).toEqual(await treeLeaves(end.params)[i].data());
  });

  test("a loop that is left keeps a checkpoint of its last step, and goes on from there bit for bit", async () => {
    const whole = await losses(train(languageOptions(6)));
    const options = { ...languageOptions(6), checkpoint: { dir: join(dir, "run"), every: 100 } };
    const seen: number[] = [];
    for await (const { step, loss } of train(options)) {
      seen.push(loss);
      if (step === 1) break;
    }
    expect(await stepsIn(options.checkpoint.dir)).toEqual([2]);
    const leave = async (): Promise<void> => {
      for await (const { step, loss } of train({ ...options, resume: true })) {
        seen.push(loss);
        if (step === 3) throw new Error("the user's own");
      }
    };
    await expect(leave()).rejects.toThrow("the user's own");
    expect(await stepsIn(options.checkpoint.dir)).toEqual([2, 4]);
    seen.push(...(await losses(train({ ...options, resume: true }))));
    expect(seen).toEqual(whole);
  });

  test("a loop that is left where a checkpoint was due writes it once", async () => {
    const options = { ...lineOptions, checkpoint: { dir, every: 2 } };
    const before = async (): Promise<number> => (await stat(join(dir, "step-2", "checkpoint.json"))).ino;
    let written: number | undefined;
    for await (const { step } of train(options))
      if (step === 1) {
        written = await before();
        break;
      }
    expect([await stepsIn(dir), await before()]).toEqual([[2], written]);
  });

  test("a run that has ended reports its end again", async () => {
    const options = { ...lineOptions, checkpoint: { dir, every: 100 } };
    const end = await train(options).finish();
    const again = await train({ ...options, resume: true }).finish();
    expect([again.step, again.loss, await again.params.w.item()]).toEqual([
      end.step,
      end.loss,
      await end.params.w.item(),
    ]);
    expect(await again.aux.w.item()).toBe(await end.params.w.item());
  });

  test("a directory that holds a run is not begun anew, and none is resumed from nothing", async () => {
    const options = { ...lineOptions, checkpoint: { dir, every: 2 } };
    const nowhere = { dir: join(dir, "mistyped"), every: 2 };
    for (const checkpoint of [options.checkpoint, nowhere])
      await expect(train({ ...options, checkpoint, resume: true }).finish()).rejects.toThrow(/holds no run to resume/);
    expect(await readdir(dir)).toEqual([]);
    await train(options).finish();
    await expect(train(options).finish()).rejects.toThrow(ConfigError);
    await expect(train(options).finish()).rejects.toThrow(/holds a run of 5 steps; resume it/);
    await expect(train({ ...options, resume: true, seed: 3 }).finish()).rejects.toThrow(/has the seed 0, not 3/);
  });

  test("a run goes on with the average it keeps, or with none: it is neither dropped nor begun in the middle", async () => {
    const options = { ...lineOptions, checkpoint: { dir, every: 2 } };
    await train({ ...options, ema: 0.5 }).finish();
    const resumed = { ...options, resume: true };
    await expect(train(resumed).finish()).rejects.toThrow(/has the ema 0.5, not none; resume it with its own/);
    await expect(train({ ...resumed, ema: 0.9 }).finish()).rejects.toThrow(/has the ema 0.5, not 0.9/);
    await train({ ...resumed, ema: 0.5 }).finish();
  });

  test("a draft that a kill left behind is no checkpoint, and goes with the next one", async () => {
    await writeFile(join(dir, ".step-4.12345678"), "");
    const options = { ...lineOptions, checkpoint: { dir, every: 2 } };
    await expect(train({ ...options, resume: true }).finish()).rejects.toThrow(ConfigError);
    await train(options).finish();
    expect((await readdir(dir)).toSorted()).toEqual(["metrics.jsonl", "step-4", "step-5"]);
  });

  test("a loss that is not finite ends the run by name of the step, and the last good checkpoint stays", async () => {
    const data = (step: number) => tensor(step === 3 ? NaN : 0);
    const options = { ...lineOptions, data, checkpoint: { dir, every: 2 } };
    await expect(train(options).finish()).rejects.toThrow(GradientError);
    await rm(join(dir, "step-2"), { recursive: true });
    await expect(train(options).finish()).rejects.toThrow(/loss of step 3 is NaN.*last good checkpoint is .*step-2/);
    expect(await stepsIn(dir)).toEqual([2]);
  });

  test("parameters that are not finite are not written", async () => {
    const model = { ...line, afterStep: ({ w }: { w: Tensor }) => ({ w: w.div(0) }) };
    await expect(train({ ...lineOptions, model, steps: 1, checkpoint: { dir, every: 1 } }).finish()).rejects.toThrow(
      /parameters are not finite after step 0/,
    );
    expect(await stepsIn(dir)).toEqual([]);
  });

  test("evaluation is the mean over its batches of each scalar, where it is due", async () => {
    const evaluate = { data: (i: number) => tensor(i), batches: 2, every: 2 };
    const model = { ...line, loss: (p: { w: Tensor }, x: Tensor) => ({ ...line.loss(p, x), x: x.mul(1) }) };
    const seen: unknown[] = [];
    for await (const { evaluation } of train({ ...lineOptions, model, evaluate }))
      seen.push(evaluation?.x, evaluation?.w);
    expect(seen).toEqual([undefined, undefined, 0.5, 2.25, undefined, undefined, 0.5, 2.8125, 0.5, 2.90625]);
  });

  test("stopped before the first step, there is no report to give", async () => {
    const run = train({ ...lineOptions, signal: AbortSignal.abort(new Error("never mind")) });
    await expect(run.finish()).rejects.toThrow("never mind");
  });

  test("what data throws is what the run throws", async () => {
    const data = (step: number) => {
      if (step === 2) throw new Error("no more text");
      return tensor(0);
    };
    await expect(train({ ...lineOptions, data }).finish()).rejects.toThrow("no more text");
  });

  test.each<[string, object, RegExp]>([
    ["batches that are none", { accumulate: 0 }, /accumulate must be a positive integer/],
    ["a norm of nothing", { clip: 0 }, /clip must be a number above 0/],
    ["an average that never moves", { ema: 1 }, /ema must be a number of at least 0 and below 1/],
    ["no steps", { steps: 0 }, /steps must be a positive integer, got 0/],
    ["a fraction of a step", { steps: 1.5 }, /steps must be a positive integer/],
    ["a negative seed", { seed: -1 }, /seed must be an integer of at least 0/],
    ["data that is no function", { data: 3 }, /data must be a function/],
    ["resume without a checkpoint", { resume: true }, /resume needs checkpoint/],
    ["an unknown option", { epochs: 3 }, /unknown option "epochs"/],
    ["a checkpoint without a directory", { checkpoint: { dir: "", every: 1 } }, /dir must be a path/],
  ])("%s is a ConfigError at once", (_, wrong, message) => {
    const act = () =>
      train({ ...lineOptions, ...wrong } as TrainOptions<{ w: Tensor }, Tensor, { loss: Tensor }, unknown>);
    expect(act).toThrow(ConfigError);
    expect(act).toThrow(message);
  });
});
