import { checkGrads } from "@switchyard/autograd";
import { init, softmax, type Tensor } from "@switchyard/tensor";
import { gshardLoss, softmaxTopK, withCapacity } from "@switchyard/moe";
import { routing } from "@switchyard/moe/testing";
import { fc, test as property } from "@fast-check/vitest";
import { beforeAll, describe, expect, test } from "vitest";
import { mean, randomTensor, rowsOf, sum } from "../oracle.ts";

beforeAll(() => init("cpu"));

describe("gshardLoss", () => {
  property.prop(
    [routing({ tokens: fc.integer({ min: 1, max: 8 }), experts: fc.integer({ min: 1, max: 5 }), k: 2, dtype: "f64" })],
    { numRuns: 60 },
  )("is the mean over experts of c / T · m, over real tokens, and E² times that as a sum", async (r) => {
    const probs = await rowsOf(softmax(r.logits!, -1));
    const firsts = (await rowsOf(r.experts)).map((row) => row[0]);
    const real = r.mask ? [...(await r.mask.data())].map(Boolean) : firsts.map(() => true);
    const kept = [...real.keys()].filter((t) => real[t]);
    const [tokens, experts] = [Math.max(kept.length, 1), probs[0].length];
    const products = Array.from({ length: experts }, (_, e) => {
      const c = kept.filter((t) => firsts[t] === e).length;
      return (c / tokens) * (sum(kept.map((t) => probs[t][e])) / tokens);
    });
    expect(await gshardLoss(r).item()).toBeCloseTo(mean(products), 10);
    expect(await gshardLoss(r, { scale: "sum", weight: 3 }).item()).toBeCloseTo(3 * experts ** 2 * mean(products), 10);
  });

  test("its gradient is that of finite differences", () =>
    checkGrads(
      (gate: Tensor, x: Tensor) => gshardLoss(softmaxTopK({ k: 2 }).route({ gate }, x)),
      [randomTensor(1, [3, 4]), randomTensor(2, [6, 3])],
    ));

  test("is the same whatever capacity drops", async () => {
    const r = softmaxTopK({ k: 2 }).route({ gate: randomTensor(1, [3, 4]) }, randomTensor(2, [6, 3]));
    const limited = gshardLoss(withCapacity(r, { capacity: 1 }));
    expect(await limited.item()).toBe(await gshardLoss(r).item());
  });
});
