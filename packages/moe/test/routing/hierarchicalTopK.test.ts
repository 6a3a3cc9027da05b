import { checkGrads } from "@switchyard/autograd";
import { init, random, tensor, type Tensor } from "@switchyard/tensor";
import {
  hierarchicalLoad,
  hierarchicalLoadLoss,
  hierarchicalMoe,
  hierarchicalTopK,
  importance,
  importanceLoss,
} from "@switchyard/moe";
import { beforeAll, describe, expect, test } from "vitest";
import { matmul, normalCdf, randomTensor, rowsOf, softmax, sum, topK } from "../oracle.ts";

beforeAll(() => init("cpu"));

const [T, D, groups, size] = [7, 3, 3, 2];
const E = groups * size;
const params = {
  primary: { gate: randomTensor(1, [D, groups]), noise: randomTensor(2, [D, groups]) },
  secondary: { gate: randomTensor(3, [groups, D, size]), noise: randomTensor(4, [groups, D, size]) },
};
const x = randomTensor(5, [T, D]);
const training = { train: true, key: random.key(7, { device: "cpu" }) };

describe("hierarchicalTopK", () => {
  test.each([
    [1, 1],
    [2, 1],
    [2, 2],
    [3, 2],
  ])(
    "of %d groups and %d experts in each, weights are products of two softmaxes, the greatest first",
    async (topGroups, k) => {
      const r = hierarchicalTopK({ groups, topGroups, k }).route(params, x);
      const rows = await rowsOf(x);
      const byGroup = matmul(rows, await rowsOf(params.primary.gate));
      const gate = (await params.secondary.gate.toArray()) as number[][][];
      const gates = rows.map((row, t) => {
        const chosen = topK(byGroup[t], topGroups);
        const shares = softmax(chosen.map((g) => byGroup[t][g]));
        const out = new Array<number>(E).fill(0);
        chosen.forEach((g, i) => {
          const logits = matmul([row], gate[g])[0];
          const best = topK(logits, k);
          softmax(best.map((e) => logits[e])).forEach((w, j) => (out[g * size + best[j]] = w * shares[i]));
        });
        return out;
      });
      (await rowsOf(r.gates)).forEach((row, t) => row.forEach((w, e) => expect(w).toBeCloseTo(gates[t][e], 12)));
      for (const row of await rowsOf(r.weights)) expect(row).toEqual(row.toSorted((a, b) => b - a));
      for (const row of await rowsOf(r.weights)) expect(sum(row)).toBeCloseTo(1, 12);
    },
  );

  test("importance is Σ of the products, and load that of the group times that within it, over the group's tokens", async () => {
    const mask = tensor([true, true, true, false, true, true, true]);
    const r = hierarchicalTopK({ groups, topGroups: 2, k: 1 }).route(params, x, { ...training, mask });
    const { primary, secondary } = r;
    const within = async (record: typeof primary, k: number) => {
      const [logits, noisy, std, experts] = await Promise.all(
        [record.logits, record.noisyLogits!, record.noiseStd!, record.experts].map(rowsOf),
      );
      return logits.map((row, t) =>
        row.map((l, e) => {
          const others = noisy[t].filter((_, i) => i !== e).toSorted((a, b) => b - a);
          if (others.length < k) return Number(experts[t].includes(e));
          return normalCdf((l - others[k - 1]) / std[t][e]);
        }),
      );
    };
    const [first, second] = [await within(primary, 2), await within(secondary, 1)];
    const real = [0, 1, 2, 4, 5, 6];
    const slotGroups = [...(await primary.slots.expert.data())];
    const wanted = Array.from({ length: groups }, (_, g) => {
      const inGroup = [...slotGroups.keys()].filter((n) => slotGroups[n] === g);
      const groupLoad = sum(real.map((t) => first[t][g]));
      return Array.from({ length: size }, (_, j) =>
        inGroup.length === 0 ? 0 : (groupLoad * sum(inGroup.map((n) => second[n][j]))) / inGroup.length,
      );
    }).flat();
    const got = [...(await hierarchicalLoad(r).data())];
    wanted.forEach((v, e) => expect(got[e]).toBeCloseTo(v, 10));
    const gates = await rowsOf(r.gates);
    const importances = [...(await importance(r.gates, { mask }).data())];
    importances.forEach((v, e) => expect(v).toBeCloseTo(sum(real.map((t) => gates[t][e])), 12));
  });

  test("probs are products of softmaxes, 0 in groups that were not chosen", async () => {
    const r = hierarchicalTopK({ groups, topGroups: 2, k: 1 }).route(params, x);
    const [probs, primary, chosen] = [
      await rowsOf(r.probs),
      await rowsOf(r.primary.probs),
      await rowsOf(r.primary.experts),
    ];
    probs.forEach((row, t) =>
      primary[t].forEach((p, g) => {
        const inGroup = sum(row.slice(g * size, (g + 1) * size));
        expect(inGroup).toBeCloseTo(chosen[t].includes(g) ? p : 0, 12);
      }),
    );
  });

  test("the gradients of a layer with its losses are those of finite differences, to second order", async () => {
    const layer = hierarchicalMoe({
      dim: D,
      hidden: 4,
      experts: E,
      groups,
      topGroups: 2,
      k: 1,
      activation: "silu",
      losses: {
        importance: (r) => importanceLoss(r, { weight: 0.1 }),
        load: (r) => hierarchicalLoadLoss(r, { weight: 0.1 }),
      },
    });
    const all = {
      router: params,
      experts: {
        w1: randomTensor(6, [E, D, 4]),
        b1: randomTensor(7, [E, 4]),
        w2: randomTensor(8, [E, 4, D]),
        b2: randomTensor(9, [E, D]),
      },
    };
    await checkGrads(
      (p: typeof all, x: Tensor) => {
        const { output, balance } = layer.apply(p, x, training);
        return output.square().mean().add(balance);
      },
      [all, x],
    );
  });
});
