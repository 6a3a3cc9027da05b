import { checkGrads, grad } from "@switchyard/autograd";
import { init, tensor, type Tensor } from "@switchyard/tensor";
import { zLoss } from "@switchyard/moe";
import { beforeAll, describe, expect, test } from "vitest";
import { mean, randomTensor, rowsOf, softmax, sum } from "../oracle.ts";

beforeAll(() => init("cpu"));

const logits = randomTensor(1, [5, 4]);
const lse = (row: number[]): number => Math.log(sum(row.map(Math.exp)));

describe("zLoss", () => {
  test("is the mean over real tokens of the squared log-sum-exp", async () => {
    const rows = await rowsOf(logits);
    expect(await zLoss(logits, { weight: 0.1 }).item()).toBeCloseTo(0.1 * mean(rows.map((r) => lse(r) ** 2)), 12);
    const mask = tensor([true, false, true, false, false]);
    const wanted = mean([rows[0], rows[2]].map((r) => lse(r) ** 2));
    expect(await zLoss(logits, { mask }).item()).toBeCloseTo(wanted, 12);
  });

  test("its gradient is 2 lse p / T", async () => {
    const got = await rowsOf(grad((l: Tensor) => zLoss(l))(logits));
    (await rowsOf(logits)).forEach((row, t) =>
      softmax(row).forEach((p, e) => expect(got[t][e]).toBeCloseTo((2 * lse(row) * p) / 5, 12)),
    );
    await checkGrads((l: Tensor) => zLoss(l), [logits]);
  });

  test("an expert ruled out by -inf adds nothing and gets gradient zero", async () => {
    const l = tensor([[1, -Infinity]]);
    expect(await zLoss(l).item()).toBeCloseTo(1, 6);
    expect([...(await grad((l: Tensor) => zLoss(l))(l).data())]).toEqual([2, 0]);
  });

  test("padding of NaN changes neither value nor gradient", async () => {
    const mask = tensor([true, false]);
    const loss = (l: Tensor) => zLoss(l, { mask });
    const padded = tensor([
      [1, -Infinity],
      [NaN, Infinity],
    ]);
    expect(await loss(padded).item()).toBeCloseTo(1, 6);
    expect(await rowsOf(grad(loss)(padded))).toEqual([
      [2, 0],
      [0, 0],
    ]);
  });

  test("without a single real token it is zero", async () => {
    expect(await zLoss(tensor([[1, 2]]), { mask: tensor([false]) }).item()).toBe(0);
  });
});
