import { init, random, tensor, type Tensor } from "@switchyard/tensor";
import { gshardTop2 } from "@switchyard/moe";
import { beforeAll, describe, expect, test } from "vitest";
import { matmul, mean, randomTensor, rowsOf, softmax, topK } from "../oracle.ts";

beforeAll(() => init("cpu"));

describe("gshardTop2", () => {
  test("weights are the two largest probabilities over their sum", async () => {
    const params = { gate: randomTensor(1, [3, 4]) };
    const x = randomTensor(2, [6, 3]);
    const { experts, weights, dropped } = gshardTop2().route(params, x);
    const probs = matmul(await rowsOf(x), await rowsOf(params.gate)).map(softmax);
    expect(await rowsOf(experts)).toEqual(probs.map((row) => topK(row, 2)));
    (await rowsOf(weights)).forEach((row, t) => {
      const [a, b] = topK(probs[t], 2).map((e) => probs[t][e]);
      expect(row[0]).toBeCloseTo(a / (a + b), 12);
      expect(row[1]).toBeCloseTo(b / (a + b), 12);
    });
    expect([...(await dropped.data())].some(Boolean)).toBe(false);
  });

  /** Many tokens whose second choice weighs `w`. */
  const routed = (w: number, options: { threshold?: number } = {}) => {
    const tokens = 4000;
    const gate = tensor([[0, Math.log(w / (1 - w)), -20]], { dtype: "f64" });
    const x = tensor(new Array<number>(tokens).fill(1), { shape: [tokens, 1], dtype: "f64" });
    return gshardTop2(options).route({ gate }, x, { train: true, key: random.key(3) });
  };
  const sentSeconds = async ({ dropped }: { dropped: Tensor }) =>
    1 - mean((await rowsOf(dropped)).map((row) => Number(row[1])));

  test.each([
    [0.1, {}, 0.2],
    [0.3, {}, 0.6],
    [0.1, { threshold: 0.2 }, 0.5],
    [0.3, { threshold: 0.2 }, 1],
  ])(
    "in training a second choice of weight %d is sent with probability w over the threshold %j",
    async (w, options, p) => {
      expect(await sentSeconds(routed(w, options))).toBeCloseTo(p, 1);
    },
  );

  test("a second choice left out weighs 0, is counted as asked for, and leaves the first its weight", async () => {
    const { weights, gates, dropped, counts, requested } = routed(0.25);
    const [rows, gone] = [await rowsOf(weights), await rowsOf(dropped)];
    rows.forEach(([first, second], t) => {
      expect(gone[t][0]).toBeFalsy();
      expect(first).toBeCloseTo(0.75, 12);
      expect(second).toBeCloseTo(gone[t][1] ? 0 : 0.25, 12);
    });
    const left = gone.filter((row) => row[1]).length;
    expect(left).toBeGreaterThan(0);
    expect([...(await requested.data())]).toEqual([4000, 4000, 0]);
    expect([...(await counts.data())]).toEqual([4000, 4000 - left, 0]);
    expect((await gates.sum().item()) as number).toBeCloseTo(4000 - 0.25 * left, 6);
  });
});
