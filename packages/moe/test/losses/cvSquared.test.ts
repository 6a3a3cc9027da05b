import { fc, test as property } from "@fast-check/vitest";
import { checkGrads, grad } from "@switchyard/autograd";
import { ConfigError, init, tensor, type Tensor } from "@switchyard/tensor";
import { cvSquared } from "@switchyard/moe";
import { beforeAll, describe, expect, test } from "vitest";
import { cvSquared as oracle, mean, randomTensor, sum } from "../oracle.ts";

beforeAll(() => init("cpu"));

const values = fc.array(fc.double({ min: -100, max: 100, noNaN: true }), { minLength: 2, maxLength: 8 });
const f64 = (v: readonly number[]) => tensor([...v], { dtype: "f64" });

describe("cvSquared", () => {
  property.prop([values, fc.constantFrom("population", "unbiased")])(
    "is the variance over the squared mean, by n or n - 1",
    async (v, variance) => {
      const wanted = oracle(v, variance === "population" ? 0 : 1);
      const got = await cvSquared(f64(v), { variance }).item();
      expect(Math.abs(got - wanted)).toBeLessThanOrEqual(1e-10 * (1 + wanted));
    },
  );

  test("at perfect balance value and gradient are zero, not NaN", async () => {
    const v = tensor([2, 2, 2, 2]);
    expect(await cvSquared(v).item()).toBe(0);
    expect([...(await grad((v: Tensor) => cvSquared(v))(v).data())]).toEqual([0, 0, 0, 0]);
  });

  test("all zeros give zero, value and gradient", async () => {
    const v = tensor([0, 0, 0]);
    expect(await cvSquared(v).item()).toBe(0);
    expect([...(await grad((v: Tensor) => cvSquared(v))(v).data())]).toEqual([0, 0, 0]);
  });

  test("of one element value and gradient are zero under both variances", async () => {
    for (const variance of ["population", "unbiased"] as const) {
      expect(await cvSquared(tensor([3]), { variance }).item()).toBe(0);
      expect([...(await grad((v: Tensor) => cvSquared(v, { variance }))(tensor([3])).data())]).toEqual([0]);
    }
  });

  test("its gradient is 2 (v - m) / (n q) - 2 m var / (n q²), q = m² + eps", async () => {
    const v = [1, 4, 2, 7, 0.5];
    const [n, m, eps] = [v.length, mean(v), 0.1];
    const variance = sum(v.map((x) => (x - m) ** 2)) / n;
    const q = m * m + eps;
    const got = await grad((v: Tensor) => cvSquared(v, { eps }))(f64(v)).data();
    v.forEach((x, i) => expect(got[i]).toBeCloseTo((2 * (x - m)) / (n * q) - (2 * m * variance) / (n * q * q), 12));
    for (const variance of ["population", "unbiased"] as const)
      await checkGrads((v: Tensor) => cvSquared(v, { variance }), [randomTensor(1, [6]).add(2)]);
  });

  test("options are checked", () => {
    const biased = { variance: "biased" } as unknown as { variance: "unbiased" };
    expect(() => cvSquared(tensor([1]), biased)).toThrow(ConfigError);
    expect(() => cvSquared(tensor([1]), biased)).toThrow(/one of "population", "unbiased", got biased/);
  });
});
