import { grad } from "@switchyard/autograd";
import { init, tensor, zeros } from "@switchyard/tensor";
import { sigmoidTopK } from "@switchyard/moe";
import { fc, test as property } from "@fast-check/vitest";
import { beforeAll, describe, expect, test } from "vitest";
import { matmul, numbers, randomTensor, rowsOf, sum, topK } from "../oracle.ts";

beforeAll(() => init("cpu"));

const [T, D, E] = [5, 3, 8];
const params = (bias: number[] = numbers(9, E)) => ({
  gate: randomTensor(1, [D, E]),
  bias: tensor(bias, { dtype: "f64" }),
});
const x = randomTensor(2, [T, D]);
const sigmoid = (v: number) => 1 / (1 + Math.exp(-v));
const scoresOf = async () => matmul(await rowsOf(x), await rowsOf(params().gate)).map((row) => row.map(sigmoid));

/** The choice for one token, by loops. */
function chosenBy(scores: number[], bias: number[], k: number, groups: number, topGroups: number): number[] {
  const size = E / groups;
  const biased = scores.map((s, e) => s + bias[e]);
  const byGroup = Array.from({ length: groups }, (_, g) => {
    const members = biased.slice(g * size, (g + 1) * size).toSorted((a, b) => b - a);
    return sum(members.slice(0, 2));
  });
  const kept = topK(byGroup, topGroups);
  return topK(
    biased.map((b, e) => (kept.includes(Math.floor(e / size)) ? b : -Infinity)),
    k,
  );
}

describe("sigmoidTopK", () => {
  property.prop(
    [
      fc.constantFrom([1, 1, 2], [4, 2, 3], [2, 1, 4], [8, 3, 3], [4, 4, 2]),
      fc.constantFrom(undefined, true, false),
      fc.array(
        fc.integer({ min: -12, max: 12 }).map((v) => v / 4 + 1e-3),
        { minLength: E, maxLength: E },
      ),
      fc.constantFrom(1, 2.5),
    ],
    { numRuns: 40 },
  )(
    "chooses by biased scores within the best groups, and weighs by the unbiased",
    async ([groups, topGroups, k], normalize, bias, routeScale) => {
      const r = sigmoidTopK({ k, groups, topGroups, normalize, routeScale }).route(params(bias), x);
      const scores = await scoresOf();
      const [experts, weights, probs] = [await rowsOf(r.experts), await rowsOf(r.weights), await rowsOf(r.probs)];
      scores.forEach((row, t) => {
        const chosen = chosenBy(row, bias, k, groups, topGroups);
        expect(experts[t]).toEqual(chosen);
        const total = (normalize ?? k > 1) ? sum(chosen.map((e) => row[e])) : 1;
        chosen.forEach((e, j) => expect(weights[t][j]).toBeCloseTo((row[e] / total) * routeScale, 12));
        probs[t].forEach((p, e) => expect(p).toBeCloseTo(row[e] / sum(row), 12));
      });
    },
  );

  test("negative biases choose no expert of a dropped group", async () => {
    const r = sigmoidTopK({ k: 2, groups: 4, topGroups: 1 }).route(params(new Array(E).fill(-50)), x);
    for (const [a, b] of await rowsOf(r.experts)) expect(Math.floor(a / 2)).toBe(Math.floor(b / 2));
  });

  test("a huge bias leaves the weights of the chosen as they were: nothing cancels", async () => {
    const plain = sigmoidTopK({ k: E }).route(params(new Array(E).fill(0)), x);
    const biased = sigmoidTopK({ k: E }).route(params(new Array(E).fill(1e12)), x);
    const [a, b] = [await rowsOf(plain.gates), await rowsOf(biased.gates)];
    a.forEach((row, t) => row.forEach((w, e) => expect(b[t][e]).toBeCloseTo(w, 12)));
  });

  test("the bias has gradient exactly zero, the gate has not", async () => {
    const readout = randomTensor(3, [T, E]);
    const g = grad((p: ReturnType<typeof params>) => sigmoidTopK({ k: 2 }).route(p, x).gates.mul(readout).sum())(
      params(),
    );
    expect([...(await g.bias.data())].every((v) => v === 0)).toBe(true);
    expect([...(await g.gate.data())].some((v) => v !== 0)).toBe(true);
  });

  test("scores that all underflow give weights of 0, not NaN", async () => {
    const r = sigmoidTopK({ k: 2 }).route({ gate: tensor([[-1, -1, -1]]), bias: zeros([3]) }, tensor([[1000]]));
    expect(await rowsOf(r.weights)).toEqual([[0, 0]]);
  });
});
