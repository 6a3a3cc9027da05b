import { checkGrads, grad } from "@switchyard/autograd";
import { ConfigError, init, random, tensor, type Tensor } from "@switchyard/tensor";
import { moe, softmaxTopK } from "@switchyard/moe";
import { beforeAll, describe, expect, test } from "vitest";
import { matmul, mean, randomTensor, rowsOf, softmax, sum, topK } from "../oracle.ts";

beforeAll(() => init("cpu"));

const [T, D, E] = [6, 3, 4];
const params = { gate: randomTensor(1, [D, E]) };
const x = randomTensor(2, [T, D]);

/** The gradient of the router in a layer whose loss is a plain function of the output. */
const taskGradient = (k: number, renormalize?: boolean): Tensor => {
  const layer = moe({ dim: D, hidden: 5, experts: E, router: softmaxTopK({ k, renormalize }) });
  const start = layer.init(random.key(0));
  return grad((p: typeof start) => layer.apply(p, x.cast("f32")).output.square().sum())(start).router.gate;
};

describe("softmaxTopK", () => {
  test("weights are the k largest of the softmax, renormalised for k above 1 unless told otherwise", async () => {
    const logits = matmul(await rowsOf(x), await rowsOf(params.gate));
    for (const [k, renormalize] of [
      [1, undefined],
      [2, undefined],
      [2, false],
      [1, true],
      [E, true],
    ] as const) {
      const r = softmaxTopK({ k, renormalize }).route(params, x);
      const got = await rowsOf(r.weights);
      logits.forEach((row, t) => {
        const chosen = topK(row, k).map((e) => softmax(row)[e]);
        const total = (renormalize ?? k > 1) ? sum(chosen) : 1;
        chosen.forEach((p, j) => expect(got[t][j]).toBeCloseTo(p / total, 12));
      });
      expect(await rowsOf(r.experts)).toEqual(logits.map((row) => topK(row, k)));
    }
  });

  test("a renormalised top-1 weight gives the router a task gradient of exactly zero", async () => {
    expect([...(await taskGradient(1, true).data())].every((v) => v === 0)).toBe(true);
  });

  test("by default a top-1 weight is the probability itself, and the router learns", async () => {
    expect([...(await taskGradient(1).data())].some((v) => v !== 0)).toBe(true);
  });

  test("without renormalisation all logits get gradients, with it those of the chosen only", async () => {
    const readout = randomTensor(3, [T, E]);
    const byLogits = (renormalize: boolean): Tensor =>
      grad((logits: Tensor) => {
        const route = softmaxTopK({ k: 2, renormalize }).route({ gate: tensor(identity, { dtype: "f64" }) }, logits);
        return route.gates.mul(readout).sum();
      })(randomTensor(4, [T, E]));
    const zeros = async (t: Tensor) => (await rowsOf(t)).map((row) => row.filter((v) => v === 0).length);
    expect(await zeros(byLogits(true))).toEqual(new Array(T).fill(E - 2));
    expect(await zeros(byLogits(false))).toEqual(new Array(T).fill(0));
  });
  const identity = Array.from({ length: E }, (_, i) => Array.from({ length: E }, (_, j) => Number(i === j)));

  test("gradients are those of finite differences, renormalised or not", async () => {
    const readout = randomTensor(5, [T, E]);
    for (const renormalize of [true, false])
      await checkGrads(
        (p: typeof params, x: Tensor, readout: Tensor) =>
          softmaxTopK({ k: 2, renormalize }).route(p, x).gates.mul(readout).sum(),
        [params, x, readout],
      );
  });

  test("jitter multiplies the router's input, in training only, and not what experts see", async () => {
    const router = softmaxTopK({ k: 2, jitter: 0.1 });
    const key = random.key(3);
    const calm = await rowsOf(router.route(params, x, { key }).logits);
    expect(calm).toEqual(await rowsOf(softmaxTopK({ k: 2 }).route(params, x).logits));
    const one = { gate: tensor([[1]], { dtype: "f64" }) };
    const ones = tensor(new Array(4000).fill(1), { shape: [4000, 1], dtype: "f64" });
    const factors = (
      await rowsOf(softmaxTopK({ k: 1, jitter: 0.1 }).route(one, ones, { train: true, key }).logits)
    ).flat();
    expect(Math.min(...factors)).toBeGreaterThanOrEqual(0.9);
    expect(Math.max(...factors)).toBeLessThanOrEqual(1.1);
    expect(mean(factors)).toBeCloseTo(1, 2);
    const layer = moe({ dim: 1, hidden: 2, experts: 1, router: softmaxTopK({ k: 1, jitter: 0.5, renormalize: true }) });
    const start = layer.init(random.key(1));
    const token = tensor([[2]]);
    const trained = await layer.apply(start, token, { train: true, key }).output.item();
    expect(trained).toBe(await layer.apply(start, token).output.item());
  });

  test("jitter without a key is a ConfigError in training", () => {
    expect(() => softmaxTopK({ k: 1, jitter: 0.1 }).route(params, x, { train: true })).toThrow(ConfigError);
  });

  test("the gate starts with standard deviation 1 / sqrt(D), the same for the same key", async () => {
    const start = (seed: number) => softmaxTopK({ k: 1 }).init(random.key(seed), { dim: 64, experts: 64 }).gate.data();
    const values = [...(await start(0))];
    expect(Math.sqrt(mean(values.map((v) => v * v)))).toBeCloseTo(1 / 8, 2);
    expect(await start(0)).toEqual(await start(0));
    expect(await start(0)).not.toEqual(await start(1));
  });

  test("logits of -inf: an expert that is ruled out gets weight 0 and no NaN", async () => {
    const gate = tensor([[1, -Infinity, 0.5]]);
    const r = softmaxTopK({ k: 2 }).route({ gate }, tensor([[1], [2]]));
    expect(await rowsOf(r.experts)).toEqual([
      [0, 2],
      [0, 2],
    ]);
    const forcedIn = softmaxTopK({ k: 3 }).route({ gate }, tensor([[1]]));
    const [weights] = await rowsOf(forcedIn.weights);
    expect(weights[2]).toBe(0);
    expect(sum(weights)).toBeCloseTo(1, 6);
    expect((await rowsOf(forcedIn.probs))[0][1]).toBe(0);
  });

  test("one expert gets every token with weight 1", async () => {
    const r = softmaxTopK({ k: 1 }).route({ gate: randomTensor(6, [D, 1]) }, x);
    expect((await rowsOf(r.weights)).flat()).toEqual(new Array(T).fill(1));
    expect([...(await r.counts.data())]).toEqual([T]);
  });

  test("options are checked", () => {
    expect(() => softmaxTopK({ k: 0 })).toThrow("softmaxTopK: k must be a positive integer, got 0");
    expect(() => softmaxTopK({ k: 1, jitter: 1 })).toThrow(/jitter must be a number of at least 0 and below 1/);
    expect(() => softmaxTopK({ k: 1, renormalise: true } as { k: number })).toThrow(/unknown option "renormalise"/);
    expect(() => softmaxTopK({ k: 5 }).init(random.key(0), { dim: D, experts: E })).toThrow(
      /k = 5 but there are 4 experts/,
    );
  });
});
