import { fc, test as property } from "@fast-check/vitest";
import { ConfigError, DTypeError, init, ShapeError, tensor } from "@switchyard/tensor";
import { makeRouting } from "@switchyard/moe";
import { routing } from "@switchyard/moe/testing";
import { beforeAll, describe, expect, test } from "vitest";
import { rowsOf, softmax, sum } from "../oracle.ts";

beforeAll(() => init("cpu"));

const i32 = (rows: number[][]) => tensor(rows, { dtype: "i32" });
const small = {
  tokens: fc.integer({ min: 0, max: 9 }),
  experts: fc.integer({ min: 1, max: 5 }),
  k: fc.integer({ min: 1, max: 5 }),
};

describe("makeRouting", () => {
  property.prop([routing(small)])("slots are the pairs sorted by expert, stable, padding last", async (r) => {
    const [experts, weights] = [await rowsOf(r.experts), await rowsOf(r.weights)];
    const count = r.counts.shape[0];
    const mask = r.mask ? await r.mask.data() : undefined;
    const expertOf = (t: number, j: number): number => (mask && !mask[t] ? count : experts[t][j]);
    const pairs = experts.flatMap((row, t) => row.map((_, j) => ({ t, j, e: expertOf(t, j) })));
    const sorted = pairs.toSorted((a, b) => a.e - b.e || a.t - b.t || a.j - b.j);
    expect([...(await r.slots.token.data())]).toEqual(sorted.map(({ t }) => t));
    expect([...(await r.slots.expert.data())]).toEqual(sorted.map(({ e }) => e));
    expect([...(await r.slots.weight.data())]).toEqual(sorted.map(({ t, j }) => weights[t][j]));
    expect((await rowsOf(r.rows)).flat()).toEqual(pairs.map((pair) => sorted.indexOf(pair)));
    const counts = Array.from({ length: count }, (_, e) => sorted.filter((pair) => pair.e === e).length);
    expect([...(await r.counts.data())]).toEqual(counts);
    expect([...(await r.requested.data())]).toEqual(counts);
    expect([...(await r.offsets.data())]).toEqual([0, ...counts.map((_, e) => sum(counts.slice(0, e + 1)))]);
    if (r.slots.live) expect([...(await r.slots.live.data())]).toEqual(sorted.map(({ e }) => Number(e < count)));
    else expect(mask).toBeUndefined();
  });

  property.prop([routing(small)])("gates hold each weight at its expert, and zero elsewhere", async (r) => {
    const [experts, weights, gates] = await Promise.all([r.experts, r.weights, r.gates].map(rowsOf));
    const wanted = gates.map((row) => row.map(() => 0));
    experts.forEach((row, t) => row.forEach((e, j) => (wanted[t][e] = weights[t][j])));
    expect(gates).toEqual(wanted);
  });

  test("padding has weight 0, even where its weight was not a number", async () => {
    const r = makeRouting({
      experts: i32([[0], [1]]),
      weights: tensor([[1], [NaN]]),
      expertCount: 2,
      mask: tensor([true, false]),
    });
    expect(await rowsOf(r.weights)).toEqual([[1], [0]]);
    expect(await rowsOf(r.gates)).toEqual([
      [1, 0],
      [0, 0],
    ]);
  });

  test("nothing is dropped", async () => {
    const r = makeRouting({ experts: i32([[1, 0]]), weights: tensor([[0.5, 0.5]]), expertCount: 3 });
    expect(await r.dropped.toArray()).toEqual([[false, false]]);
  });

  test("probabilities are given, or the softmax of the logits, or the gates", async () => {
    const parts = { experts: i32([[1]]), weights: tensor([[2]]) };
    const logits = tensor([[0.5, 1, -1]], { dtype: "f64" });
    const probs = tensor([[0, 1, 0]], { dtype: "f64" });
    expect(await rowsOf(makeRouting({ ...parts, logits, probs }).probs)).toEqual([[0, 1, 0]]);
    (await rowsOf(makeRouting({ ...parts, logits }).probs))[0].forEach((p, i) =>
      expect(p).toBeCloseTo(softmax([0.5, 1, -1])[i], 14),
    );
    expect(await rowsOf(makeRouting({ ...parts, expertCount: 3 }).probs)).toEqual([[0, 2, 0]]);
  });

  test("the number of experts comes from the logits, the probabilities or expertCount, and from nothing else", () => {
    const parts = { experts: i32([[1]]), weights: tensor([[1]]) };
    expect(makeRouting({ ...parts, logits: tensor([[0, 1, 0]]) }).counts.shape).toEqual([3]);
    expect(makeRouting({ ...parts, probs: tensor([[0, 1]]) }).offsets.shape).toEqual([3]);
    expect(makeRouting({ ...parts, expertCount: 7 }).gates.shape).toEqual([1, 7]);
    expect(() => makeRouting(parts)).toThrow(ConfigError);
    expect(() => makeRouting(parts)).toThrow(/pass logits, probs or expertCount/);
  });

  test("parts that do not fit together are refused, each by name", () => {
    const experts = i32([[1, 0]]);
    const weights = tensor([[0.5, 0.5]]);
    const make = (parts: object) => () => makeRouting({ experts, weights, expertCount: 2, ...parts });
    expect(make({ weights: tensor([[1]]) })).toThrow(ShapeError);
    expect(make({ experts: tensor([[1, 0]]) })).toThrow(DTypeError);
    expect(make({ logits: tensor([[1, 0, 0]]) })).toThrow(/logits must be \[tokens, experts\]/);
    expect(make({ mask: tensor([1]) })).toThrow(DTypeError);
    expect(make({ mask: tensor([true, true]) })).toThrow(/mask must be \[tokens\] = \[1\]/);
    expect(make({ expertCount: 1 })).toThrow(/2 distinct choices/);
  });
});
