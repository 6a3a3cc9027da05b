import { fc, test as property } from "@fast-check/vitest";
import { checkGrads, grad } from "@switchyard/autograd";
import { init, tensor, type Tensor } from "@switchyard/tensor";
import { importance, importanceLoss, makeRouting, softmaxTopK } from "@switchyard/moe";
import { routing } from "@switchyard/moe/testing";
import { beforeAll, describe, expect, test } from "vitest";
import { cvSquared, randomTensor, rowsOf, sum } from "../oracle.ts";

beforeAll(() => init("cpu"));

const records = routing({
  tokens: fc.integer({ min: 1, max: 8 }),
  experts: fc.integer({ min: 1, max: 5 }),
  k: 2,
  dtype: "f64",
});

describe("importanceLoss", () => {
  property.prop([records])("is CV² of the gates added up over real tokens", async (r) => {
    const gates = await rowsOf(r.gates);
    const mask = r.mask ? await r.mask.data() : gates.map(() => 1);
    const wanted = gates[0].map((_, e) => sum(gates.map((row, t) => (mask[t] ? row[e] : 0))));
    const got = await importance(r.gates, { mask: r.mask }).data();
    wanted.forEach((v, e) => expect(got[e]).toBeCloseTo(v, 10));
    expect(await importanceLoss(r, { weight: 0.3, eps: 0.01 }).item()).toBeCloseTo(
      0.3 * cvSquared(wanted, 0, 0.01),
      10,
    );
  });

  test("the mask counts even where the gates of padding are not zero", async () => {
    const gates = tensor([
      [1, 2],
      [30, 40],
    ]);
    expect([...(await importance(gates, { mask: tensor([true, false]) }).data())]).toEqual([1, 2]);
  });

  test("its gradient reaches the router as finite differences say", async () => {
    await checkGrads(
      (gate: Tensor, x: Tensor) => importanceLoss(softmaxTopK({ k: 2 }).route({ gate }, x), { variance: "unbiased" }),
      [randomTensor(1, [3, 4]), randomTensor(2, [6, 3])],
    );
  });

  test("at perfect balance its gradient is zero, not NaN: untrained gates that all choose alike under k = E", async () => {
    const g = grad((gate: Tensor) => importanceLoss(softmaxTopK({ k: 2 }).route({ gate }, tensor([[1], [2]]))))(
      tensor([[0, 0]]),
    );
    expect([...(await g.data())]).toEqual([0, 0]);
  });

  test("padding passes no gradient", async () => {
    const experts = tensor([[0], [1], [1]], { dtype: "i32" });
    const mask = tensor([true, true, false]);
    const loss = (weights: Tensor) => importanceLoss(makeRouting({ experts, weights, expertCount: 2, mask }));
    const g = await grad(loss)(tensor([[1], [3], [5]])).data();
    expect(g[2]).toBe(0);
    expect(g[0]).not.toBe(0);
  });
});
