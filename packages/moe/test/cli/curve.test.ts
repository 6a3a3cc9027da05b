import { expect, test } from "vitest";
import { createCurve } from "../../src/cli/report/curve.ts";

const curveOf = (width: number, steps: number, shown: readonly (readonly [step: number, value: number])[]) => {
  const curve = createCurve(width);
  for (const [step, value] of shown) curve.add(value, step / steps, 1 / steps);
  return curve.columns();
};
const unknown = undefined;

test("a long run averages within columns of equal parts of it", () => {
  const shown = Array.from({ length: 6 }, (_, i) => [i + 1, i + 1] as const);
  expect(curveOf(4, 8, shown)).toEqual([1.5, 3.5, 5.5, unknown]);
});

test("a short run fills every column that a step takes", () => {
  const shown = [[1, 5] as const, [2, 7] as const];
  expect(curveOf(6, 3, shown)).toEqual([5, 5, 7, 7, unknown, unknown]);
});

test("a value holds since the one before, so that no column between two pictures stays empty", () => {
  const shown = [[1, 1] as const, [7, 4] as const];
  expect(curveOf(4, 8, shown)).toEqual([2.5, 4, 4, 4]);
});

test("what a resumed run did before is not known", () => {
  expect(curveOf(4, 8, [[7, 3]])).toEqual([unknown, unknown, unknown, 3]);
});
