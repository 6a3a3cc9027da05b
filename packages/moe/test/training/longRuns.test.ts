// What a run of more than an afternoon needs: many batches a step, averages, the best kept, an early end, a log.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { init, random, tensor, zeros, type Key, type Tensor } from "@switchyard/tensor";
import { adamw, sgd, treeLeaves, warmupCosine } from "@switchyard/autograd";
import { loadCheckpoint, randomBatches, train, transformer } from "@switchyard/moe";
import { afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { stepsIn } from "../../src/training/history.ts";
import { metricsLog } from "../../src/training/runLog.ts";
import { killedAfter } from "./killedAfter.ts";

let dir: string;
beforeAll(() => init("cpu"));
beforeEach(async () => void (dir = await mkdtemp(join(tmpdir(), "switchyard-"))));
afterEach(() => rm(dir, { recursive: true }));

/** `w` is drawn to the mean of the batch. */
const mean = {
  init: (_key: Key) => ({ w: zeros([]) }),
  loss: (p: { w: Tensor }, x: Tensor) => ({ loss: p.w.sub(x).square().mean().mul(0.5) }),
};
const meanOptions = {
  model: mean,
  data: (step: number) => tensor([step]),
  optimizer: sgd({ learningRate: 1 }),
  steps: 4,
};

const ids = Int32Array.from({ length: 300 }, (_, i) => (i * i) % 11);
const model = transformer({ vocab: 11, dim: 8, layers: 1, heads: 2, hidden: 8, context: 6, moe: { experts: 4, k: 2 } });
const languageOptions = (steps: number) => ({
  model,
  data: randomBatches(ids, { batch: 4, context: 6 }, 1),
  optimizer: adamw({ learningRate: warmupCosine({ peak: 1e-2, warmup: 2, steps }), weightDecay: 0.1 }),
  steps,
  accumulate: 3,
  clip: 0.5,
  ema: 0.9,
  evaluate: { data: randomBatches(ids, { batch: 2, context: 6 }, 2), batches: 1, every: 2, by: "crossEntropy" },
  checkpoint: { dir, every: 3 },
});

const values = async (tree: unknown): Promise<number[][]> =>
  Promise.all(treeLeaves(tree).map(async (t) => [...(await t.data())]));
const withoutTime = async (at: string) => (await metricsLog.read(at)).map((record) => ({ ...record, time: 0 }));

describe("a long run", () => {
  test("with accumulate, a step takes the mean of loss and gradient over its batches", async () => {
    const rows: number[][] = [];
    for await (const { loss, params } of train({ ...meanOptions, accumulate: 3, steps: 2 }))
      rows.push([loss, await params.w.item()]);
    // Batches 0, 1, 2 have the mean 1; 3, 4, 5 have 4. With a rate of 1, w becomes the mean.
    expect(rows[0]).toEqual([expect.closeTo((0 + 1 + 4) / 6), 1]);
    expect(rows[1]).toEqual([expect.closeTo((4 + 9 + 16) / 6), 4]);
  });

  test("with clip, a longer gradient is scaled down, and the report has its norm from before", async () => {
    const rows: unknown[] = [];
    for await (const { gradientNorm, params } of train({ ...meanOptions, data: () => tensor([3]), clip: 2 }))
      rows.push([gradientNorm, await params.w.item()]);
    expect(rows).toEqual([
      [3, 2],
      [1, 3],
      [0, 3],
      [0, 3],
    ]);
  });

  test("with ema, the average follows the parameters, and evaluation judges the average", async () => {
    const evaluate = { data: () => tensor([0]), batches: 1, every: 1 };
    let average = 0;
    for await (const report of train({ ...meanOptions, evaluate, ema: 0.5 })) {
      const keep = Math.min(0.5, (1 + report.step) / (10 + report.step));
      average = keep * average + (1 - keep) * report.step; // with a rate of 1, w is the batch
      expect(await report.average!.w.item()).toBeCloseTo(average, 5);
      expect(report.evaluation!.loss).toBeCloseTo(average ** 2 / 2, 5);
    }
  });

  test("ends early when the evaluation has not been the best for as long as its patience, and says so again", async () => {
    // w is 0, 1, 2, …; judged by 2, it is best after step 3 (where it is 2).
    const evaluate = { data: () => tensor([2]), batches: 1, every: 1, patience: 2 };
    const options = { ...meanOptions, evaluate, steps: 50, checkpoint: { dir, every: 10, keep: 1 } };
    const end = await train(options).finish();
    expect([end.step, end.evaluation!.loss]).toEqual([4, 2]);
    expect(await stepsIn(dir)).toEqual([3, 5]); // the best and the last
    expect(await (await loadCheckpoint(join(dir, "step-3"), { w: zeros([]) })).w.item()).toBe(2);
    const again = await train({ ...options, resume: true }).finish();
    expect([again.step, again.loss]).toEqual([end.step, end.loss]);
  });

  test("what to be best by is a number of the evaluation", async () => {
    const evaluate = { data: () => tensor([2]), batches: 1, every: 1, by: "accuracy" };
    await expect(train({ ...meanOptions, evaluate }).finish()).rejects.toThrow(/by is "accuracy", but there are loss/);
  });

  test("keeps as many checkpoints as it is told, and the best one beside them", async () => {
    const evaluate = { data: () => tensor([1]), batches: 1, every: 1 };
    await train({ ...meanOptions, evaluate, steps: 9, checkpoint: { dir, every: 2, keep: 3 } }).finish();
    expect(await stepsIn(dir)).toEqual([2, 6, 8, 9]);
  });

  test("notes each step, and how experts were used", async () => {
    await train({ ...languageOptions(5), checkpoint: { dir, every: 3 } }).finish();
    const records = await metricsLog.read(dir);
    expect(records.map(({ step }) => step)).toEqual([1, 2, 3, 4, 5]);
    const [first, second] = records;
    expect(Object.keys(first.scalars).toSorted()).toEqual(
      ["balance", "crossEntropy", "loss", "losses.importance", "losses.load"].toSorted(),
    );
    expect([first.learningRate, first.gradientNorm! > 0]).toEqual([5e-3, true]);
    expect(second.evaluation!.crossEntropy).toBeCloseTo(Math.log(11), 0);
    const { counts, entropy, dropped } = first.routing!["routings.0"];
    expect([counts.reduce((a, b) => a + b), dropped]).toEqual([4 * 6 * 2, 0]);
    expect(entropy).toBeCloseTo(Math.log(4), 5); // the gate begins at zero
  });

  test("killed and resumed, has the log, the average and the end of a run that was not", async () => {
    const [whole, broken] = [join(dir, "whole"), join(dir, "broken")];
    const end = await train({ ...languageOptions(7), checkpoint: { dir: whole, every: 3 } }).finish();
    const options = { ...languageOptions(7), checkpoint: { dir: broken, every: 3 } };
    await killedAfter(0, train(options), broken); // before its first checkpoint
    await killedAfter(4, train({ ...options, resume: true }), broken); // after step 4 was noted
    expect((await metricsLog.read(broken)).length).toBe(5);
    const resumed = await train({ ...options, resume: true }).finish();
    expect(await withoutTime(broken)).toEqual(await withoutTime(whole));
    expect(await values([resumed.params, resumed.average])).toEqual(await values([end.params, end.average]));
  });

  test("a line of the log that a kill cut short is left out", async () => {
    const options = { ...meanOptions, checkpoint: { dir, every: 2 } };
    await killedAfter(2, train(options), dir);
    const path = join(dir, "metrics.jsonl");
    const log = await readFile(path, "utf8");
    const { appendFile } = await import("node:fs/promises");
    await appendFile(path, log.slice(0, 20));
    await train({ ...options, resume: true }).finish();
    expect((await metricsLog.read(dir)).map(({ step }) => step)).toEqual([1, 2, 3, 4]);
  });

  test("lines beyond the checkpoint that a loss of power left as anything do not keep a run from going on", async () => {
    const options = { ...meanOptions, checkpoint: { dir, every: 2 } };
    await killedAfter(1, train(options), dir);
    const { appendFile } = await import("node:fs/promises");
    await appendFile(join(dir, "metrics.jsonl"), `${"\0".repeat(80)}\n`);
    await expect(metricsLog.read(dir)).rejects.toThrow(/metrics\.jsonl: line 3 is not JSON/);
    await train({ ...options, resume: true }).finish();
    expect((await metricsLog.read(dir)).map(({ step }) => step)).toEqual([1, 2, 3, 4]);
  });

  test("the keys of the batches of a step differ, and those of one batch a step are the step's", async () => {
    const drawing = {
      ...mean,
      loss: (p: { w: Tensor }, x: Tensor, { key }: { key: Key }) => ({
        ...mean.loss(p, x),
        draw: random.uniform(key, []),
      }),
    };
    const draws: number[] = [];
    for (const accumulate of [1, 2])
      for await (const { aux } of train({ ...meanOptions, model: drawing, accumulate, steps: 2 }))
        draws.push(await aux.draw.item());
    expect(draws[2]).toBe(draws[1]); // batch 1 is step 1, or the last of step 0
    expect(new Set(draws).size).toBe(3);
  });
});
