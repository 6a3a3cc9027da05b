import { checkGrads } from "@switchyard/autograd";
import { init, tensor, type Tensor } from "@switchyard/tensor";
import { makeRouting, sequenceBalanceLoss, sigmoidTopK } from "@switchyard/moe";
import { routing } from "@switchyard/moe/testing";
import { fc, test as property } from "@fast-check/vitest";
import { beforeAll, describe, expect, test } from "vitest";
import { mean, randomTensor, rowsOf, sum, topK } from "../oracle.ts";

beforeAll(() => init("cpu"));

describe("sequenceBalanceLoss", () => {
  property.prop(
    [routing({ tokens: 6, experts: fc.integer({ min: 1, max: 4 }), k: 2, dtype: "f64" }), fc.constantFrom(1, 2, 3, 6)],
    {
      numRuns: 60,
    },
  )("is Σ f P of each sequence by itself, f by the best probabilities, over real tokens", async (r, sequence) => {
    const probs = await rowsOf(r.probs);
    const [experts, k] = [probs[0].length, r.experts.shape[1]];
    const real = r.mask ? [...(await r.mask.data())].map(Boolean) : probs.map(() => true);
    const losses: number[] = [];
    for (let start = 0; start < 6; start += sequence) {
      const kept = Array.from({ length: sequence }, (_, i) => start + i).filter((t) => real[t]);
      if (kept.length === 0) continue;
      const products = Array.from({ length: experts }, (_, e) => {
        const f = (experts / (k * kept.length)) * kept.filter((t) => topK(probs[t], k).includes(e)).length;
        return f * (sum(kept.map((t) => probs[t][e])) / kept.length);
      });
      losses.push(sum(products));
    }
    const wanted = losses.length === 0 ? 0 : mean(losses);
    expect(await sequenceBalanceLoss(r, { sequence }).item()).toBeCloseTo(wanted, 10);
    expect(await sequenceBalanceLoss(r, { sequence, weight: 1e-2 }).item()).toBeCloseTo(wanted * 1e-2, 10);
  });

  test("a selection bias does not enter it", async () => {
    const [gate, x] = [randomTensor(1, [3, 4]), randomTensor(2, [6, 3])];
    const lossAt = (bias: number[]) =>
      sequenceBalanceLoss(sigmoidTopK({ k: 2 }).route({ gate, bias: tensor(bias, { dtype: "f64" }) }, x), {
        sequence: 3,
      });
    expect(await lossAt([9, 0, 0, -9]).item()).toBeCloseTo((await lossAt([0, 0, 0, 0]).item()) as number, 12);
  });

  test("its gradient is that of finite differences, to second order", () =>
    checkGrads(
      (gate: Tensor, bias: Tensor, x: Tensor, mask: Tensor) =>
        sequenceBalanceLoss(sigmoidTopK({ k: 2 }).route({ gate, bias }, x, { mask }), { sequence: 3 }),
      [
        randomTensor(1, [3, 4]),
        randomTensor(3, [4]),
        randomTensor(2, [6, 3]),
        tensor([true, true, false, true, true, true]),
      ],
    ));

  test("of sequences that are balanced each by itself it is 1, and more where only the batch is", async () => {
    const record = (first: number[]) =>
      makeRouting({
        experts: tensor(first, { shape: [4, 1], dtype: "i32" }),
        weights: tensor([1, 1, 1, 1], { shape: [4, 1] }),
        probs: tensor(first.map((e) => [Number(e === 0), Number(e === 1)])),
      });
    expect(await sequenceBalanceLoss(record([0, 1, 1, 0]), { sequence: 2 }).item()).toBeCloseTo(1, 6);
    expect(await sequenceBalanceLoss(record([0, 0, 1, 1]), { sequence: 2 }).item()).toBeCloseTo(2, 6);
  });
});
