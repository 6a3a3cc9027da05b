import { fc, test as property } from "@fast-check/vitest";
import { checkGrads, grad, vjp } from "@switchyard/autograd";
import { init, tensor, type Tensor } from "@switchyard/tensor";
import { topologicalOrder, type AnyNode } from "@switchyard/tensor/graph";
import { combine, dispatch, makeRouting, type Routing, type TokenRouting } from "@switchyard/moe";
import { routing } from "@switchyard/moe/testing";
import { beforeAll, describe, expect, test } from "vitest";
import { randomTensor, rowsOf, sum } from "../oracle.ts";

beforeAll(() => init("cpu"));

const small = {
  tokens: fc.integer({ min: 0, max: 9 }),
  experts: fc.integer({ min: 1, max: 5 }),
  k: fc.integer({ min: 1, max: 5 }),
  dtype: "f64" as const,
};
const D = 3;
const tokensOf = (r: Routing): Tensor => randomTensor(1, [r.gates.shape[0], D]);
const slotsOf = (r: Routing): Tensor => randomTensor(2, [r.slots.token.shape[0], D]);
const inner = async (a: Tensor, b: Tensor): Promise<number> => a.mul(b).sum().item();

/** The operations that a tensor needs beyond those of what it was made from. */
function opsBetween(result: Tensor, ...from: readonly Tensor[]): AnyNode[] {
  const known = new Set(topologicalOrder(from.map((t) => t.node)));
  return topologicalOrder([result.node]).filter((node) => !known.has(node));
}

const routingTensors = (r: TokenRouting): Tensor[] => [
  r.slots.token,
  r.slots.weight,
  r.rows,
  ...(r.slots.live ? [r.slots.live] : []),
];

describe("dispatch", () => {
  property.prop([routing(small)])("copies each slot's token, and zeros where no expert looks", async (r) => {
    const x = tokensOf(r);
    const [rows, tokens] = [await rowsOf(x), await r.slots.token.data()];
    const seen = (await r.offsets.data()).at(-1)!;
    const wanted = [...tokens].map((t, slot) => (slot < seen ? rows[t] : [0, 0, 0]));
    expect(await rowsOf(dispatch(x, r))).toEqual(wanted);
  });

  property.prop([routing(small)])("its gradient is its transpose: ⟨dispatch x, y⟩ = ⟨x, gradient y⟩", async (r) => {
    const [x, y] = [tokensOf(r), slotsOf(r)];
    const [out, pullback] = vjp((x: Tensor) => dispatch(x, r), x);
    expect(await inner(out, y)).toBeCloseTo(await inner(x, pullback(y)[0]), 10);
  });

  property.prop([routing(small)])("the gradient of dispatch contains no scatter", (r) => {
    const x = tokensOf(r);
    const g = grad((x: Tensor) => dispatch(x, r).square().sum())(x);
    expect(opsBetween(g, x, ...routingTensors(r)).map((node) => node.op)).not.toContain("scatter");
  });
});

describe("combine", () => {
  property.prop([routing(small)])("adds up each token's slots by weight", async (r) => {
    const y = slotsOf(r);
    const [rows, at, weights] = await Promise.all([y, r.rows, r.weights].map(rowsOf));
    const got = await rowsOf(combine(y, r));
    const mask = r.mask ? await r.mask.data() : undefined;
    got.forEach((row, t) =>
      row.forEach((v, d) => {
        if (mask && !mask[t]) expect(v).toBe(0);
        else expect(v).toBeCloseTo(sum(at[t].map((slot, j) => weights[t][j] * rows[slot][d])), 12);
      }),
    );
  });

  property.prop([routing(small)])("the gradient of combine contains no scatter", (r) => {
    const y = slotsOf(r);
    const g = grad((y: Tensor) => combine(y, r).square().sum())(y);
    expect(opsBetween(g, y, ...routingTensors(r)).map((node) => node.op)).not.toContain("scatter");
  });

  property.prop([routing(small)], { numRuns: 20 })("undoes dispatch when weights add up to 1", async (r) => {
    const x = tokensOf(r);
    const mask = r.mask ? await r.mask.data() : undefined;
    const [back, rows] = [await rowsOf(combine(dispatch(x, r), r)), await rowsOf(x)];
    back.forEach((row, t) => row.forEach((v, d) => expect(v).toBeCloseTo(mask && !mask[t] ? 0 : rows[t][d], 12)));
  });

  property.prop([routing({ ...small, tokens: fc.integer({ min: 1, max: 4 }) })], { numRuns: 10 })(
    "gradients of rows and weights are those of finite differences, to second order",
    async (r) => {
      const { slots } = r;
      await checkGrads(
        (y: Tensor, weight: Tensor) =>
          combine(y, { ...r, slots: { ...slots, weight } })
            .square()
            .sum(),
        [slotsOf(r), slots.weight],
      );
    },
  );
});

test("padding is zero and passes no gradient, whatever it holds: dispatch and combine", async () => {
  const experts = tensor([[0], [0], [1]], { dtype: "i32" });
  const r = makeRouting({
    experts,
    weights: tensor([[1], [2], [3]]),
    expertCount: 2,
    mask: tensor([true, false, true]),
  });
  const x = tensor([[1], [NaN], [3]]);
  expect([...(await dispatch(x, r).data())]).toEqual([1, 3, 0]);
  expect([...(await grad((x: Tensor) => dispatch(x, r).square().sum())(x).data())]).toEqual([2, 0, 6]);
  const y = tensor([[1], [3], [NaN]]);
  expect([...(await combine(y, r).data())]).toEqual([1, 0, 9]);
  expect([...(await grad((y: Tensor) => combine(y, r).sum())(y).data())]).toEqual([1, 3, 0]);
});

test("where experts choose, a token may have any number of slots: combine adds them up", async () => {
  const i32 = (xs: number[]) => tensor(xs, { dtype: "i32" });
  const gates = tensor([
    [0.5, 0.25],
    [0, 0],
    [0, 2],
  ]);
  const slots = { token: i32([0, 0, 2]), expert: i32([0, 1, 1]), weight: tensor([0.5, 0.25, 2]) };
  const r: Routing = {
    gates,
    probs: gates,
    slots,
    counts: i32([1, 2]),
    requested: i32([1, 2]),
    offsets: i32([0, 1, 3]),
  };
  const x = tensor([[1], [10], [100]]);
  expect([...(await dispatch(x, r).data())]).toEqual([1, 1, 100]);
  expect([...(await combine(tensor([[4], [8], [1]]), r).data())]).toEqual([4, 0, 2]);
  expect([...(await grad((x: Tensor) => dispatch(x, r).sum())(x).data())]).toEqual([2, 0, 1]);
});
