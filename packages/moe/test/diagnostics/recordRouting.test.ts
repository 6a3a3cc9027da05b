import { init, tensor } from "@switchyard/tensor";
import { expertChoice, forced, moe, recordRouting, replayRouting, softmaxTopK, withCapacity } from "@switchyard/moe";
import { routing } from "@switchyard/moe/testing";
import { fc, test as property } from "@fast-check/vitest";
import { beforeAll, describe, expect, test } from "vitest";
import { randomTensor } from "../oracle.ts";

beforeAll(() => init("cpu"));

const drawn = {
  tokens: fc.integer({ min: 0, max: 7 }),
  experts: fc.integer({ min: 1, max: 4 }),
  k: fc.integer({ min: 1, max: 2 }),
};

describe("recordRouting", () => {
  property.prop([routing(drawn), fc.integer({ min: 1, max: 4 })], { numRuns: 60 })(
    "through JSON and back a routing is what it was: choices, weights, padding, what was dropped",
    async (r, capacity) => {
      const limited = withCapacity(r, { capacity });
      const back = replayRouting(JSON.parse(JSON.stringify(await recordRouting(limited))));
      for (const field of ["weights", "gates", "counts", "requested", "offsets", "dropped"] as const)
        expect({ [field]: await back[field].toArray() }).toEqual({ [field]: await limited[field].toArray() });
      expect(await back.slots.token.toArray()).toEqual(await limited.slots.token.toArray());
    },
  );

  test("a layer forced to it gives the output that it gave", async () => {
    const layer = moe({ dim: 3, hidden: 4, experts: 4, router: softmaxTopK({ k: 2 }) });
    const params = {
      router: { gate: randomTensor(1, [3, 4]).cast("f32") },
      experts: { w1: randomTensor(2, [4, 3, 4]).cast("f32"), w2: randomTensor(3, [4, 4, 3]).cast("f32") },
    };
    const x = randomTensor(4, [5, 3]).cast("f32");
    const { output, routing: made } = layer.apply(params, x);
    const again = moe({ dim: 3, hidden: 4, experts: 4, router: forced(replayRouting(await recordRouting(made))) });
    expect(await again.apply({ ...params, router: {} }, x).output.toArray()).toEqual(await output.toArray());
  });

  test("a record is refused where it does not fit", async () => {
    const record = await recordRouting(
      softmaxTopK({ k: 1 }).route({ gate: randomTensor(1, [3, 4]) }, randomTensor(2, [5, 3])),
    );
    const router = forced(replayRouting(record));
    expect(() => router.route({}, randomTensor(3, [6, 3]))).toThrow("forced: the record routes 5 tokens but x has 6");
    expect(() => replayRouting({ ...record, experts: record.experts.slice(1) })).toThrow(/./);
    const byExperts = expertChoice({ capacityFactor: 1 }).route(
      { gate: randomTensor(1, [3, 4]) },
      tensor([[1, 2, 3]], { dtype: "f64" }),
    );
    await expect(recordRouting(byExperts)).rejects.toThrow("recordRouting: needs a router whose tokens choose experts");
  });
});
