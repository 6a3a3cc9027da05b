import fc from "fast-check";
import { expect, test } from "vitest";
import { interpret } from "../../../schedule/interpreter.ts";
import { execute } from "./harness.ts";
import { randomCase } from "./randomKernel.ts";

const numRuns = process.env.SWITCHYARD_DEEP ? 20000 : 400;

/** Equal, or floats a rounding apart: a product may be rounded in another order. */
const agree = (a: number, b: number): boolean => Object.is(a, b) || Math.abs(a - b) <= 1e-6 * Math.abs(b);

test("a generated kernel computes what the plan says, in any split of its tiles to the same bits, and touches nothing else", () => {
  fc.assert(
    fc.property(randomCase, ({ plan, leaves, numbers }) => {
      const expected = interpret(plan, leaves, numbers);
      const { roots } = execute(plan, leaves, numbers);
      expected.forEach((array, root) => {
        const wrong = array.findIndex((x, i) => !agree(roots[root][i], x));
        if (wrong >= 0) throw new Error(`root ${root} at ${wrong}: ${roots[root][wrong]}, not ${array[wrong]}`);
      });
      const again = execute(plan, leaves, numbers, { tilesPerCall: -1, garbage: 0x41 });
      expect(again.roots).toEqual(roots);
    }),
    { numRuns },
  );
});
