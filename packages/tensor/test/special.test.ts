import { expect, test } from "vitest";
import { erf, erfc, normalCdf, sigmoid, softplus } from "../src/special.ts";
import * as oracle from "./special.oracle.ts";

/** Evenly spaced points, jittered off the round numbers, and the decades down to the subnormals. */
function sweep(low: number, high: number, count: number): number[] {
  const even = Array.from({ length: count }, (_, i) => low + ((high - low) * (i + 0.3217)) / count);
  const tiny = Array.from({ length: 22 }, (_, i) => 10 ** (-15 * i));
  return [...even, ...tiny, ...tiny.map((x) => -x)].filter((x) => x >= low && x <= high);
}

function worst(f: (x: number) => number, truth: (x: bigint, guess: number) => bigint, points: number[]): number {
  return Math.max(...points.map((x) => oracle.ulps(f(x), truth(oracle.fixed(x), f(x)))));
}

test("erf is within 2 ulp", () => {
  expect(worst(erf, oracle.erf, sweep(-6.2, 6.2, 150))).toBeLessThan(2);
});

test("erfc is within 6 ulp, as far out as the subnormals", () => {
  expect(worst(erfc, oracle.erfc, sweep(-6, 27.2, 150))).toBeLessThan(6);
});

test("normalCdf is within 6 ulp in both tails", () => {
  expect(worst(normalCdf, oracle.normalCdf, sweep(-38.4, 9, 150))).toBeLessThan(6);
});

test("softplus is within 2 ulp", () => {
  expect(worst(softplus, oracle.softplus, sweep(-740, 40, 60))).toBeLessThan(2);
});

test("sigmoid is within 3 ulp", () => {
  expect(worst(sigmoid, oracle.sigmoid, sweep(-740, 40, 60))).toBeLessThan(3);
});

test("the limits are exact and NaN passes through", () => {
  const at = (f: (x: number) => number) => [-Infinity, Infinity, NaN].map(f);
  expect(at(erf)).toEqual([-1, 1, NaN]);
  expect(at(erfc)).toEqual([2, 0, NaN]);
  expect(at(normalCdf)).toEqual([0, 1, NaN]);
  expect(at(softplus)).toEqual([0, Infinity, NaN]);
  expect(at(sigmoid)).toEqual([0, 1, NaN]);
  expect(Object.is(erf(-0), -0)).toBe(true);
});
