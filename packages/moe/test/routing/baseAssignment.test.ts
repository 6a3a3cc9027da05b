import { init, random, tensor } from "@switchyard/tensor";
import { baseAssignment } from "@switchyard/moe";
import { beforeAll, describe, expect, test } from "vitest";
import { matmul, randomTensor, rowsOf, topK } from "../oracle.ts";

beforeAll(() => init("cpu"));

describe("baseAssignment", () => {
  const params = { gate: randomTensor(1, [3, 4]).add(randomTensor(5, [1, 4]).mul(4)) };
  const x = randomTensor(2, [14, 3]).add(1);

  test("in training every expert gets as many tokens as any other", async () => {
    const { counts } = baseAssignment().route(params, x, { train: true });
    expect([...(await counts.data())]).toEqual([4, 4, 3, 3]);
  });

  test("in evaluation each token goes to its greatest logit", async () => {
    const { experts, counts } = baseAssignment().route(params, x);
    const logits = matmul(await rowsOf(x), await rowsOf(params.gate));
    expect(await rowsOf(experts)).toEqual(logits.map((row) => topK(row, 1)));
    expect(Math.max(...(await counts.data()))).toBeGreaterThan(4);
  });

  test("the weight is the sigmoid of the chosen logit", async () => {
    const r = baseAssignment().route(params, x, { train: true });
    const [experts, weights, logits] = [await rowsOf(r.experts), await rowsOf(r.weights), await rowsOf(r.logits)];
    experts.forEach(([e], t) => expect(weights[t][0]).toBeCloseTo(1 / (1 + Math.exp(-logits[t][e])), 12));
  });

  test("padding takes no share", async () => {
    const mask = tensor(Array.from({ length: 14 }, (_, i) => i % 3 !== 0));
    const { counts } = baseAssignment().route(params, x, { train: true, mask });
    expect([...(await counts.data())]).toEqual([3, 2, 2, 2]);
    const none = baseAssignment().route(params, x, { train: true, mask: mask.and(mask.not()) });
    expect([...(await none.counts.data())]).toEqual([0, 0, 0, 0]);
  });

  test("on cpu and wasm the same", async () => {
    const experts = (device: "cpu" | "wasm") => {
      const at = { gate: random.normal(random.key(1, { device }), [8, 6]) };
      return baseAssignment()
        .route(at, random.normal(random.key(2, { device }), [50, 8]), { train: true })
        .counts.toArray();
    };
    expect(await experts("wasm")).toEqual(await experts("cpu"));
  });
});
