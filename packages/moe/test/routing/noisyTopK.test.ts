import { checkGrads, grad } from "@switchyard/autograd";
import { ConfigError, init, random, tensor, type Tensor } from "@switchyard/tensor";
import { noisyTopK } from "@switchyard/moe";
import { beforeAll, describe, expect, test } from "vitest";
import { matmul, randomTensor, rowsOf, softmax, topK } from "../oracle.ts";

beforeAll(() => init("cpu"));

const [T, D, E] = [7, 4, 5];
const params = { gate: randomTensor(1, [D, E]), noise: randomTensor(2, [D, E]) };
const x = randomTensor(3, [T, D]);
const noise = randomTensor(4, [T, E]);

describe("noisyTopK", () => {
  test("H is the logits plus noise times softplus plus epsilon; weights are the softmax of the k largest", async () => {
    const r = noisyTopK({ k: 2, noiseEpsilon: 0.05 }).route(params, x, { train: true, noise });
    const [xs, gate, spread, draws] = await Promise.all([x, params.gate, params.noise, noise].map(rowsOf));
    const logits = matmul(xs, gate);
    const std = matmul(xs, spread).map((row) => row.map((v) => Math.log(1 + Math.exp(v)) + 0.05));
    const noisy = logits.map((row, t) => row.map((v, e) => v + draws[t][e] * std[t][e]));
    const experts = noisy.map((row) => topK(row, 2));
    expect(await rowsOf(r.experts)).toEqual(experts);
    const weights = experts.map((chosen, t) => softmax(chosen.map((e) => noisy[t][e])));
    const wanted = { logits, noiseStd: std, noisyLogits: noisy, weights, probs: logits.map(softmax) };
    for (const [name, rows] of Object.entries(wanted)) {
      const got = await rowsOf(r[name as keyof typeof wanted]!);
      rows.forEach((row, t) => row.forEach((v, i) => expect(got[t][i]).toBeCloseTo(v, 12)));
    }
    expect(r.noise).toBe(noise);
  });

  test("both weights start at zero, so evaluation sends every token to the lowest experts, by halves", async () => {
    const router = noisyTopK({ k: 2 });
    const start = router.init(random.key(0), { dim: D, experts: E });
    expect([...(await start.gate.data()), ...(await start.noise.data())].every((v) => v === 0)).toBe(true);
    const r = router.route(start, x.cast("f32"));
    expect(await rowsOf(r.experts)).toEqual(Array.from({ length: T }, () => [0, 1]));
    expect((await rowsOf(r.weights)).flat().every((w) => w === 0.5)).toBe(true);
  });

  test("there is no noise in evaluation, with a key or without", async () => {
    for (const options of [{}, { key: random.key(1) }, { train: false, key: random.key(1) }]) {
      const r = noisyTopK({ k: 2 }).route(params, x, options);
      expect(r.noise).toBeUndefined();
      expect((await rowsOf(r.noiseStd!)).flat().every((v) => v === 0)).toBe(true);
      expect(await rowsOf(r.noisyLogits!)).toEqual(await rowsOf(r.logits));
    }
  });

  test("a key decides the noise", async () => {
    const route = (seed: number) => noisyTopK({ k: 2 }).route(params, x, { train: true, key: random.key(seed) });
    expect(await route(5).noise!.data()).toEqual(await route(5).noise!.data());
    expect(await route(5).noise!.data()).not.toEqual(await route(6).noise!.data());
  });

  test("training without a key is a ConfigError that says what to pass", () => {
    expect(() => noisyTopK({ k: 1 }).route(params, x, { train: true })).toThrow(ConfigError);
    expect(() => noisyTopK({ k: 1 }).route(params, x, { train: true })).toThrow(/random\.key/);
  });

  test("ties go to the lower expert", async () => {
    const flat = { gate: tensor([[1, 2, 2, 2]]), noise: tensor([[0, 0, 0, 0]]) };
    expect(await rowsOf(noisyTopK({ k: 2 }).route(flat, tensor([[1], [-1]])).experts)).toEqual([
      [1, 2],
      [0, 1],
    ]);
  });

  test("a weight that underflows to 0 keeps its pair: dispatch goes by indices", async () => {
    const far = { gate: tensor([[500, -500, -600]]), noise: tensor([[0, 0, 0]]) };
    const r = noisyTopK({ k: 2 }).route(far, tensor([[1]]));
    expect(await rowsOf(r.weights)).toEqual([[1, 0]]);
    expect([...(await r.counts.data())]).toEqual([1, 1, 0]);
  });

  test("the gradients of both weights are those of finite differences", async () => {
    const readout = randomTensor(5, [T, E]);
    await checkGrads(
      (p: typeof params, x: Tensor, noise: Tensor, readout: Tensor) =>
        noisyTopK({ k: 2 }).route(p, x, { train: true, noise }).gates.mul(readout).sum(),
      [params, x, noise, readout],
    );
  });

  test("in evaluation the noise weights have gradient zero, not NaN", async () => {
    const g = grad((p: typeof params) => noisyTopK({ k: 2 }).route(p, x).gates.square().sum())(params);
    expect([...(await g.noise.data())].every((v) => v === 0)).toBe(true);
    expect([...(await g.gate.data())].some((v) => v !== 0)).toBe(true);
  });

  test("options are checked: k, epsilon, and names it does not know", () => {
    expect(() => noisyTopK({ k: -1 })).toThrow("noisyTopK: k must be a positive integer, got -1");
    expect(() => noisyTopK({ k: 1.5 })).toThrow(ConfigError);
    expect(() => noisyTopK({} as { k: number })).toThrow('noisyTopK: needs the option "k"');
    expect(() => noisyTopK({ k: 1, noiseEpsilon: -1 })).toThrow(/noiseEpsilon must be a number of at least 0/);
    expect(() => noisyTopK({ k: 1, epsilon: 1 } as { k: number })).toThrow(/unknown option "epsilon"; options are k, /);
    const tooMany = "noisyTopK: k = 9 but there are 5 experts; choose k from 1 to 5";
    expect(() => noisyTopK({ k: 9 }).init(random.key(0), { dim: D, experts: E })).toThrow(tooMany);
    expect(() => noisyTopK({ k: 9 }).route(params, x)).toThrow(tooMany);
  });
});
