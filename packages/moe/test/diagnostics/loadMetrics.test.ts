import { fc, test as property } from "@fast-check/vitest";
import { init, random, tensor, zeros } from "@switchyard/tensor";
import { loadMetrics, randomRouter, samplingFloor, type LoadMetrics } from "@switchyard/moe";
import { beforeAll, describe, expect, test } from "vitest";
import { cvSquared, mean, sum } from "../oracle.ts";

beforeAll(() => init("cpu"));

const read = async (metrics: LoadMetrics): Promise<Record<keyof LoadMetrics, number>> => {
  const entries = Object.entries(metrics).map(async ([name, value]) => [name, await value.item()] as const);
  return Object.fromEntries(await Promise.all(entries)) as Record<keyof LoadMetrics, number>;
};
const metricsOf = (counts: number[]) => read(loadMetrics(tensor(counts, { dtype: "i32" })));

describe("loadMetrics", () => {
  property.prop([fc.array(fc.nat({ max: 50 }), { minLength: 1, maxLength: 8 }).filter((counts) => sum(counts) > 0)])(
    "each is its definition",
    async (counts) => {
      const got = await metricsOf(counts);
      const m = mean(counts);
      const entropy = -sum(counts.map((c) => (c === 0 ? 0 : (c / sum(counts)) * Math.log(c / sum(counts)))));
      expect(got.cv).toBeCloseTo(Math.sqrt(cvSquared(counts)), 4);
      expect(got.maxOverMean).toBeCloseTo(Math.max(...counts) / m, 4);
      expect(got.maxViolation).toBeCloseTo((Math.max(...counts) - m) / m, 4);
      expect(got.entropy).toBeCloseTo(entropy, 4);
      expect(got.effectiveExperts).toBeCloseTo(Math.exp(entropy), 4);
      expect(got.deadFraction).toBeCloseTo(counts.filter((c) => c === 0).length / counts.length, 6);
    },
  );

  test("balanced counts are perfect", async () => {
    const got = await metricsOf([5, 5, 5, 5]);
    expect(got).toMatchObject({ cv: 0, maxOverMean: 1, maxViolation: 0, deadFraction: 0 });
    expect(got.effectiveExperts).toBeCloseTo(4, 5);
  });

  test("one expert that has everything is the worst there is", async () => {
    const got = await metricsOf([0, 12, 0, 0]);
    expect(got).toMatchObject({ maxOverMean: 4, maxViolation: 3, entropy: 0, effectiveExperts: 1, deadFraction: 0.75 });
    expect(got.cv).toBeCloseTo(Math.sqrt(3), 6);
  });

  test("of no tokens at all every expert is dead, and nothing is NaN", async () => {
    expect(await metricsOf([0, 0])).toEqual({
      cv: 0,
      maxOverMean: 0,
      maxViolation: 0,
      entropy: 0,
      effectiveExperts: 0,
      deadFraction: 1,
    });
  });
});

test("the floor that chance sets is the deviation of counts that are drawn evenly, over their mean", async () => {
  const sizes = { tokens: 64, experts: 8, k: 2 };
  const router = randomRouter({ k: sizes.k });
  const cvs: number[] = [];
  for (let seed = 0; seed < 60; seed++) {
    const options = { train: true, key: random.key(seed) };
    const { counts } = router.route({ experts: sizes.experts }, zeros([sizes.tokens, 1]), options);
    cvs.push((await metricsOf([...(await counts.data())])).cv);
  }
  const rootMeanSquare = Math.sqrt(mean(cvs.map((cv) => cv * cv)));
  expect(Math.abs(rootMeanSquare / samplingFloor(sizes) - 1)).toBeLessThan(0.15);
});
