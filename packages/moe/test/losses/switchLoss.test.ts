import { fc, test as property } from "@fast-check/vitest";
import { checkGrads, grad } from "@switchyard/autograd";
import { ConfigError, init, tensor, type Tensor } from "@switchyard/tensor";
import { makeRouting, softmaxTopK, switchLoss, type Fraction, type Routing } from "@switchyard/moe";
import { routing } from "@switchyard/moe/testing";
import { beforeAll, describe, expect, test } from "vitest";
import { randomTensor, rowsOf, softmax, sum } from "../oracle.ts";

beforeAll(() => init("cpu"));

const fractions = ["perToken", "perChoice", "firstChoice"] as const;

/** `E Σ f P` over the real tokens, counted one by one. */
async function oracle(r: Routing, fraction: Fraction): Promise<number> {
  const [experts, probs] = await Promise.all([r.experts!, r.probs].map(rowsOf));
  const mask = r.mask ? await r.mask.data() : experts.map(() => 1);
  const real = [...experts.keys()].filter((t) => mask[t]);
  if (real.length === 0) return 0;
  const pairs = real.flatMap((t) => (fraction === "firstChoice" ? experts[t].slice(0, 1) : experts[t]));
  const denominator = fraction === "perToken" ? pairs.length : real.length;
  return (
    probs[0].length *
    sum(
      probs[0].map((_, e) => {
        const f = pairs.filter((p) => p === e).length / denominator;
        return (f * sum(real.map((t) => probs[t][e]))) / real.length;
      }),
    )
  );
}

describe("switchLoss", () => {
  property.prop([
    routing({
      tokens: fc.integer({ min: 1, max: 8 }),
      experts: fc.integer({ min: 1, max: 5 }),
      k: fc.integer({ min: 1, max: 5 }),
      dtype: "f64",
    }),
    fc.constantFrom(...fractions),
  ])("is E Σ f P, f counted as its option says, over real tokens", async (r, fraction) => {
    expect(await switchLoss(r, { fraction, weight: 0.5 }).item()).toBeCloseTo(0.5 * (await oracle(r, fraction)), 10);
  });

  test("of a balanced routing it is 1 per token, k per choice, 1 by first choices", async () => {
    const experts = tensor(
      [
        [0, 1],
        [1, 2],
        [2, 3],
        [3, 0],
      ],
      { dtype: "i32" },
    );
    const r = makeRouting({
      experts,
      weights: tensor(new Array(8).fill(0.5), { shape: [4, 2] }),
      logits: tensor(new Array(16).fill(0), { shape: [4, 4] }),
    });
    expect(await Promise.all(fractions.map((fraction) => switchLoss(r, { fraction }).item()))).toEqual([1, 2, 1]);
  });

  test("its gradient is α E / T p (f - Σ f p): f is a constant", async () => {
    const [T, E] = [5, 4];
    const logits = randomTensor(1, [T, E]);
    const route = (logits: Tensor) => {
      const { indices, values } = logits.topK(2);
      return makeRouting({ experts: indices, weights: values, logits });
    };
    const got = await rowsOf(grad((logits: Tensor) => switchLoss(route(logits), { weight: 0.1 }))(logits));
    const counts = await route(logits).counts.data();
    const f = [...counts].map((c) => c / (2 * T));
    (await rowsOf(logits)).forEach((row, t) => {
      const p = softmax(row);
      const mean = sum(p.map((v, e) => v * f[e]));
      p.forEach((v, e) => expect(got[t][e]).toBeCloseTo(((0.1 * E) / T) * v * (f[e] - mean), 12));
    });
  });

  test("its gradient is that of finite differences under each convention", async () => {
    for (const fraction of fractions)
      await checkGrads(
        (gate: Tensor, x: Tensor) => switchLoss(softmaxTopK({ k: 2 }).route({ gate }, x), { fraction }),
        [randomTensor(1, [3, 4]), randomTensor(2, [6, 3])],
      );
  });

  test("what capacity drops is counted as sent", async () => {
    const r = softmaxTopK({ k: 2 }).route({ gate: randomTensor(1, [3, 4]) }, randomTensor(2, [6, 3]));
    const full = { ...r, counts: r.counts.minimum(1) };
    for (const fraction of fractions)
      expect(await switchLoss(full, { fraction }).item()).toBe(await switchLoss(r, { fraction }).item());
  });

  test("without a single real token it is zero", async () => {
    const r = makeRouting({
      experts: tensor([[0]], { dtype: "i32" }),
      weights: tensor([[1]]),
      expertCount: 2,
      mask: tensor([false]),
    });
    for (const fraction of fractions) expect(await switchLoss(r, { fraction }).item()).toBe(0);
  });

  test("first choices exist only where tokens choose", () => {
    const { experts, ...rest } = makeRouting({
      experts: tensor([[0]], { dtype: "i32" }),
      weights: tensor([[1]]),
      expertCount: 2,
    });
    expect(experts.shape).toEqual([1, 1]);
    expect(() => switchLoss(rest, { fraction: "firstChoice" })).toThrow(ConfigError);
  });
});
