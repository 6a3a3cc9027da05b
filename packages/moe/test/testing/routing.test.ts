import { fc, test as property } from "@fast-check/vitest";
import { init } from "@switchyard/tensor";
import type { TokenRouting } from "@switchyard/moe";
import { routing } from "@switchyard/moe/testing";
import { beforeAll, describe, expect, test } from "vitest";
import { rowsOf, sum } from "../oracle.ts";

beforeAll(() => init("cpu"));

const arbitrary = routing({ tokens: 6, experts: 4, k: 2 });

/** Whether some record has the property: looked for among the first few. */
async function occurs(has: (r: TokenRouting) => Promise<boolean>): Promise<boolean> {
  for (const r of fc.sample(arbitrary, { numRuns: 60, seed: 1 })) if (await has(r)) return true;
  return false;
}
const realTokens = async (r: TokenRouting): Promise<number> => (r.mask ? sum([...(await r.mask.data())]) : 6);

describe("routing", () => {
  property.prop([
    routing({ tokens: fc.nat({ max: 5 }), experts: fc.integer({ min: 1, max: 4 }), k: fc.integer({ min: 1, max: 6 }) }),
  ])("makes records whose tokens choose distinct experts that exist, as many as asked or as there are", async (r) => {
    const count = r.counts.shape[0];
    expect(r.experts.shape[1]).toBeLessThanOrEqual(count);
    for (const row of await rowsOf(r.experts)) {
      expect(new Set(row).size).toBe(row.length);
      expect(row.every((e) => e >= 0 && e < count)).toBe(true);
    }
  });

  property.prop([arbitrary])("chooses the largest noisy logits", async (r) => {
    const best = await rowsOf(r.noisyLogits!.topK(2).indices);
    expect(await rowsOf(r.experts)).toEqual(best);
  });

  test("experts without tokens occur, among real tokens", async () => {
    expect(await occurs(async (r) => (await realTokens(r)) === 6 && [...(await r.counts.data())].includes(0))).toBe(
      true,
    );
  });

  test("experts that every token chooses occur", async () => {
    expect(await occurs(async (r) => [...(await r.counts.data())].includes(6))).toBe(true);
  });

  test("ties for a place among the chosen occur", async () => {
    const tied = async (r: TokenRouting) =>
      (await rowsOf(r.noisyLogits!)).some((row) => {
        const [, second, third] = row.toSorted((a, b) => b - a);
        return second === third;
      });
    expect(await occurs(tied)).toBe(true);
  });

  test("padding occurs, and so does its absence", async () => {
    expect(await occurs(async (r) => (await realTokens(r)) < 6)).toBe(true);
    expect(await occurs(async (r) => r.mask === undefined)).toBe(true);
  });

  test("a counterexample shrinks to logits of zero, and prints as code", async () => {
    const failing = fc.asyncProperty(
      routing({ tokens: fc.integer({ min: 1, max: 9 }), experts: 3, k: 1 }),
      async () => false,
    );
    const { counterexample } = await fc.check(failing, { seed: 2 });
    expect(fc.stringify(counterexample![0])).toBe(
      'makeRouting({ experts: tensor([[0]], { dtype: "i32" }), weights: tensor([[1]]), logits: tensor([[0,0,0]]) })',
    );
  });
});
