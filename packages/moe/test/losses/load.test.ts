import { fc, test as property } from "@fast-check/vitest";
import { checkGrads, grad } from "@switchyard/autograd";
import { ConfigError, init, random, tensor, type Tensor } from "@switchyard/tensor";
import { load, loadLoss, makeRouting, noisyTopK, probInTopK, softmaxTopK, type NoisyTopKParams } from "@switchyard/moe";
import { routing } from "@switchyard/moe/testing";
import { beforeAll, describe, expect, test } from "vitest";
import { cvSquared, normalCdf, randomTensor, rowsOf, sum } from "../oracle.ts";

beforeAll(() => init("cpu"));

const [T, D, E, k] = [6, 3, 4, 2];
const params: NoisyTopKParams = { gate: randomTensor(1, [D, E]), noise: randomTensor(2, [D, E]) };
const x = randomTensor(3, [T, D]);
const noise = randomTensor(4, [T, E]);
const router = noisyTopK({ k });

describe("probInTopK", () => {
  property.prop([
    routing({
      tokens: fc.integer({ min: 1, max: 6 }),
      experts: fc.integer({ min: 1, max: 5 }),
      k: fc.integer({ min: 1, max: 5 }),
      dtype: "f64",
    }),
  ])("is Φ of the distance to the k-th largest noisy logit of the others, over the deviation", async (r) => {
    const [logits, noisy, std, experts, got] = await Promise.all(
      [r.logits!, r.noisyLogits!, r.noiseStd!, r.experts, probInTopK(r)].map(rowsOf),
    );
    const choices = experts[0].length;
    const wanted = logits.map((row, t) =>
      row.map((clean, e) => {
        const others = noisy[t].filter((_, i) => i !== e).toSorted((a, b) => b - a);
        if (others.length < choices) return 1;
        return normalCdf((clean - others[choices - 1]) / std[t][e]);
      }),
    );
    wanted.forEach((row, t) => row.forEach((p, e) => expect(got[t][e]).toBeCloseTo(p, 10)));
    const mask = r.mask ? await r.mask.data() : wanted.map(() => 1);
    const loads = wanted[0].map((_, e) => sum(wanted.map((row, t) => (mask[t] ? row[e] : 0))));
    (await load(r).data()).forEach((v, e) => expect(v).toBeCloseTo(loads[e], 10));
    expect(await loadLoss(r, { weight: 0.2, eps: 0.01 }).item()).toBeCloseTo(0.2 * cvSquared(loads, 0, 0.01), 10);
  });

  test("of tied logits the chosen one is in: membership is the record's, not a comparison", async () => {
    const flat = { gate: tensor([[1, 1, 1]]), noise: tensor([[0, 0, 0]]) };
    const r = noisyTopK({ k: 1 }).route(flat, tensor([[1]]), { train: true, noise: tensor([[0, 0, 0]]) });
    expect((await rowsOf(probInTopK(r))).flat()).toEqual([0.5, 0.5, 0.5]);
    const evaluated = noisyTopK({ k: 1 }).route(flat, tensor([[1]]));
    expect((await rowsOf(probInTopK(evaluated))).flat()).toEqual([1, 0, 0]);
  });

  test("in evaluation load is the number of tokens, without gradient, and no deviation of 0 is divided by", async () => {
    const r = router.route(params, x);
    expect([...(await load(r).data())]).toEqual([...(await r.counts.data())]);
    const g = grad((p: NoisyTopKParams) => {
      const r = router.route(p, x);
      return loadLoss(r).add(r.gates.sum().mul(0));
    })(params);
    expect([...(await g.gate.data()), ...(await g.noise.data())].every((v) => v === 0)).toBe(true);
  });

  test("a deviation of 0 is certainty, and gives no NaN to any gradient", async () => {
    const still = tensor([[0, 0, 0]]);
    const of = (logits: Tensor, noiseStd: Tensor) => {
      const noisyLogits = logits.add(noiseStd.mul(still));
      const r = makeRouting({ experts: logits.topK(1).indices, weights: tensor([[1]]), logits });
      return probInTopK({ ...r, noise: still, noiseStd, noisyLogits });
    };
    expect([...(await of(tensor([[2, 2, 1]]), still).data())]).toEqual([1, 0, 0]);
    const g = grad(([logits, std]: Tensor[]) => of(logits, std).square().sum())([tensor([[2, 2, 1]]), still]);
    for (const t of g) expect([...(await t.data())]).toEqual([0, 0, 0]);
  });

  test("where k = E every expert is surely in: load counts all, with gradient zero", async () => {
    const all = noisyTopK({ k: E });
    const r = all.route(params, x, { train: true, noise });
    expect([...(await load(r).data())]).toEqual(new Array(E).fill(T));
    expect(await loadLoss(r).item()).toBe(0);
  });

  test("the gradient through an attached threshold is that of finite differences", async () => {
    await checkGrads(
      (p: NoisyTopKParams, x: Tensor, noise: Tensor) => loadLoss(router.route(p, x, { train: true, noise })),
      [params, x, noise],
    );
  });

  test("a detached threshold is a constant: the gradient leaves out the expert that sets it", async () => {
    const gradient = async (threshold: "attached" | "detached") => {
      const g = grad((logits: Tensor) => {
        const noisyLogits = logits.add(noise);
        const base = router.route(params, x, { train: true, noise });
        const r = { ...base, logits, noisyLogits, experts: noisyLogits.topK(k).indices };
        return probInTopK(r, { threshold }).slice([], [0, 1]).sum();
      })(x.matmul(params.gate));
      return rowsOf(g);
    };
    const [attached, detached] = [await gradient("attached"), await gradient("detached")];
    for (let t = 0; t < T; t++) {
      expect(detached[t].slice(1)).toEqual([0, 0, 0]);
      expect(attached[t].slice(1).filter((v) => v !== 0)).toHaveLength(1);
      expect(sum(attached[t])).toBeCloseTo(0, 12);
    }
  });

  test("attached and detached gradients of the gate differ", async () => {
    const gradient = (threshold: "attached" | "detached") =>
      grad((p: NoisyTopKParams) => loadLoss(router.route(p, x, { train: true, noise }), { threshold }))(
        params,
      ).gate.data();
    expect(await gradient("attached")).not.toEqual(await gradient("detached"));
  });

  test("a router without noise is a ConfigError that says what to do", () => {
    const r = softmaxTopK({ k: 1 }).route({ gate: params.gate }, x);
    expect(() => loadLoss(r)).toThrow(ConfigError);
    expect(() => loadLoss(r)).toThrow(/noisyTopK, or balance with switchLoss/);
  });

  test("an untrained router in training has a finite load loss and gradient", async () => {
    const start = router.init(random.key(0), { dim: D, experts: E });
    const g = grad((p: NoisyTopKParams) =>
      loadLoss(router.route(p, x.cast("f32"), { train: true, key: random.key(1) })),
    )(start);
    expect([...(await g.gate.data()), ...(await g.noise.data())].every(Number.isFinite)).toBe(true);
  });
});
