import { checkGrads, treeMap } from "@switchyard/autograd";
import { init, random, tensor, zeros, type Tensor } from "@switchyard/tensor";
import {
  expertChoice,
  importanceLoss,
  loadMetrics,
  moe,
  switchLoss,
  transformer,
  withCapacity,
  zLoss,
} from "@switchyard/moe";
import { fc, test as property } from "@fast-check/vitest";
import { beforeAll, describe, expect, test, vi } from "vitest";
import { matmul, numbers, randomTensor, rowsOf, softmax, topK } from "../oracle.ts";

beforeAll(() => init("cpu"));

const [D, H, E] = [3, 4, 4];
const gate = randomTensor(1, [D, E]);

/** The tokens of each expert, by a loop. */
function tokensOf(probs: number[][], real: boolean[], factor: number): number[][] {
  const kept = [...real.keys()].filter((t) => real[t]);
  const takes = Math.min(kept.length, Math.max(1, Math.floor((factor * kept.length) / E)));
  return Array.from({ length: E }, (_, e) =>
    topK(
      kept.map((t) => probs[t][e]),
      takes,
    ).map((i) => kept[i]),
  );
}

const draws = fc.record({
  tokens: fc.integer({ min: 0, max: 9 }),
  factor: fc.constantFrom(0.5, 1, 1.5, 2, 9),
  seed: fc.nat(50),
  masked: fc.boolean(),
});

describe("expertChoice", () => {
  property.prop([draws], { numRuns: 60 })(
    "each expert takes the real tokens that score highest with it, and weighs them by the score",
    async ({ tokens, factor, seed, masked }) => {
      const x = randomTensor(seed, [tokens, D]);
      const real = numbers(seed + 1, tokens).map((v) => !masked || v > -0.5);
      const mask = masked ? tensor(real, { shape: [tokens], dtype: "bool" }) : undefined;
      const r = expertChoice({ capacityFactor: factor }).route({ gate }, x, { mask });
      const probs = tokens === 0 ? [] : matmul(await rowsOf(x), await rowsOf(gate)).map(softmax);
      const taken = tokensOf(probs, real, factor);
      const gates = probs.map((row, t) => row.map((p, e) => (taken[e].includes(t) ? p : 0)));
      (await rowsOf(r.gates)).forEach((row, t) => row.forEach((g, e) => expect(g).toBeCloseTo(gates[t][e], 12)));
      expect([...(await r.counts.data())]).toEqual(taken.map((list) => list.length));
      const [begins, token] = [[...(await r.offsets.data())], [...(await r.slots.token.data())]];
      taken.forEach((list, e) => expect(token.slice(begins[e], begins[e + 1])).toEqual(list));
    },
  );

  property.prop([draws], { numRuns: 30 })(
    "dropless and dense agree, with padding too",
    async ({ tokens, factor, seed, masked }) => {
      const x = randomTensor(seed, [tokens, D]);
      const mask = masked
        ? tensor(
            numbers(seed + 1, tokens).map((v) => v > -0.5),
            { shape: [tokens], dtype: "bool" },
          )
        : undefined;
      const [sparse, dense] = (["dropless", "dense"] as const).map((how) => {
        const layer = moe({
          dim: D,
          hidden: H,
          experts: E,
          router: expertChoice({ capacityFactor: factor }),
          dispatch: how,
        });
        let seeds = 20;
        const params = treeMap((t) => randomTensor(seeds++, t.shape), layer.init(random.key(0)));
        return layer.apply(params, x, { mask }).output;
      });
      const wanted = await dense.data();
      (await sparse.data()).forEach((v, i) => expect(v).toBeCloseTo(wanted[i], 10));
    },
  );

  test("gradients are those of finite differences, to second order, with losses on", async () => {
    const layer = moe({
      dim: D,
      hidden: H,
      experts: E,
      router: expertChoice({ capacityFactor: 1.5 }),
      activation: "silu",
      losses: { importance: (r) => importanceLoss(r), switch: (r) => switchLoss(r), z: (r) => zLoss(r.logits) },
    });
    let seed = 20;
    const params = treeMap((t) => randomTensor(seed++, t.shape), layer.init(random.key(0)));
    await checkGrads(
      (p: typeof params, x: Tensor, mask: Tensor) => {
        const { output, balance } = layer.apply(p, x, { mask });
        return output.square().mean().add(balance);
      },
      [params, randomTensor(3, [6, D]), tensor([true, true, false, true, true, true])],
    );
  });

  test("every expert gets the same number, so that balance is perfect", async () => {
    const { counts } = expertChoice({ capacityFactor: 2 }).route({ gate }, randomTensor(4, [10, D]));
    expect([...(await counts.data())]).toEqual([5, 5, 5, 5]);
    expect(await loadMetrics(counts).cv.item()).toBe(0);
  });

  test("it has a capacity of its own", () => {
    const r = expertChoice({ capacityFactor: 1 }).route({ gate }, zeros([4, D], { dtype: "f64" }));
    expect(() => withCapacity(r, { capacity: 1 })).toThrow("needs a router whose tokens choose experts");
  });

  test("a decoder warns that it leaks the future, once, and a router by token does not", () => {
    const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
    const sizes = { vocab: 5, dim: 4, layers: 2, heads: 1, hidden: 4, context: 3 };
    transformer({ ...sizes, moe: { experts: 2, router: expertChoice({ capacityFactor: 1 }) } });
    expect(warn.mock.calls.map(([line]) => String(line))).toEqual([
      expect.stringContaining("training leaks the future"),
    ]);
    warn.mockClear();
    transformer({ ...sizes, moe: { experts: 2, k: 1 } });
    expect(warn).not.toHaveBeenCalled();
    warn.mockRestore();
  });
});
