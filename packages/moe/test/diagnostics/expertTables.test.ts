import { init, tensor, zeros } from "@switchyard/tensor";
import { coActivation, expertChoice, expertTokens } from "@switchyard/moe";
import { routing } from "@switchyard/moe/testing";
import { fc, test as property } from "@fast-check/vitest";
import { beforeAll, describe, expect, test } from "vitest";
import { numbers, randomTensor, rowsOf } from "../oracle.ts";

beforeAll(() => init("cpu"));

const drawn = routing({
  tokens: fc.integer({ min: 0, max: 8 }),
  experts: fc.integer({ min: 1, max: 4 }),
  k: fc.integer({ min: 1, max: 3 }),
});
const table = (rows: number, columns: number): number[][] =>
  Array.from({ length: rows }, () => new Array<number>(columns).fill(0));

describe("tables of experts", () => {
  property.prop([drawn], { numRuns: 40 })("coActivation counts the tokens that chose both", async (r) => {
    const [chosen, real] = [await rowsOf(r.experts), r.mask && [...(await r.mask.data())]];
    const experts = r.gates.shape[1];
    const wanted = table(experts, experts);
    chosen.forEach((row, t) => {
      if (real && !real[t]) return;
      for (const a of row) for (const b of row) wanted[a][b]++;
    });
    expect(await coActivation(r).toArray()).toEqual(wanted);
  });

  property.prop([drawn], { numRuns: 40 })("expertTokens counts how often each id chose each expert", async (r) => {
    const [chosen, real] = [await rowsOf(r.experts), r.mask && [...(await r.mask.data())]];
    const ids = numbers(5, chosen.length).map((v) => Math.round(v) + 2); // some outside 0..4
    const wanted = table(r.gates.shape[1], 5);
    chosen.forEach((row, t) => {
      if (real && !real[t]) return;
      for (const e of row) if (ids[t] >= 0 && ids[t] < 5) wanted[e][ids[t]]++;
    });
    const tokenIds = tensor(ids, { shape: [ids.length], dtype: "i32" });
    expect(await expertTokens(r, tokenIds, 5).toArray()).toEqual(wanted);
  });

  test("both say what they need", () => {
    const byExperts = expertChoice({ capacityFactor: 1 }).route(
      { gate: randomTensor(1, [2, 3]) },
      randomTensor(2, [4, 2]),
    );
    expect(() => coActivation(byExperts)).toThrow("coActivation: needs a router whose tokens choose experts");
    expect(() => expertTokens(byExperts, zeros([4], { dtype: "i32" }), 3)).toThrow("expertTokens: needs a router");
  });
});
