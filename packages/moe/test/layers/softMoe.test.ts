import { checkGrads, grad, treeLeaves, treeMap } from "@switchyard/autograd";
import { init, random, tensor, zeros, type Tensor } from "@switchyard/tensor";
import { softMoe, type SoftMoeParams } from "@switchyard/moe";
import { beforeAll, describe, expect, test } from "vitest";
import { expert, randomTensor, rowsOf, softmax, sum, type ExpertArrays, type Rows } from "../oracle.ts";

beforeAll(() => init("cpu"));

const [B, T, D, H, E, P] = [2, 4, 3, 5, 2, 2];
const layer = softMoe({ dim: D, hidden: H, experts: E, slots: P });
let seed = 30;
const params: SoftMoeParams = {
  ...treeMap((t) => randomTensor(seed++, t.shape), layer.init(random.key(0))),
  scale: tensor(3, { dtype: "f64", device: "cpu" }),
};
const x = randomTensor(1, [B, T, D]);

/** One sequence by loops; tokens that are not real are not there. */
async function oracle(rows: Rows): Promise<Rows> {
  const unit = (v: number[]) => v.map((a) => a / Math.sqrt(sum(v.map((b) => b * b)) + 1e-6));
  const phi = await rowsOf(params.phi);
  const directions = phi[0].map((_, s) => unit(phi.map((row) => row[s])));
  const logits = rows.map((row) => directions.map((d) => 3 * sum(unit(row).map((v, i) => v * d[i]))));
  const arrays = Object.fromEntries(
    await Promise.all(Object.entries(params.experts).map(async ([n, t]) => [n, await (t as Tensor).toArray()])),
  ) as ExpertArrays;
  const answers = directions.map((_, s) => {
    const weights = softmax(logits.map((row) => row[s]));
    const mixed = rows[0].map((_, d) => sum(rows.map((row, t) => weights[t] * row[d])));
    return expert(arrays, Math.floor(s / P), mixed, "gelu");
  });
  return logits.map((row) => {
    const weights = softmax(row);
    return rows[0].map((_, d) => sum(answers.map((a, s) => weights[s] * a[d])));
  });
}

describe("softMoe", () => {
  test("mixes tokens into slots and slots into tokens, each sequence by itself", async () => {
    const { output, dispatch, combine } = layer.apply(params, x);
    for (let b = 0; b < B; b++) {
      const wanted = await oracle(await rowsOf(x.slice(b)));
      (await rowsOf(output.slice(b))).forEach((row, t) =>
        row.forEach((v, d) => expect(v).toBeCloseTo(wanted[t][d], 10)),
      );
    }
    for (const total of await dispatch.sum(1).data()) expect(total).toBeCloseTo(1, 12);
    for (const total of await combine.sum(2).data()) expect(total).toBeCloseTo(1, 12);
  });

  test("padding enters no slot and comes out as zero", async () => {
    const mask = tensor([
      [true, false, true, true],
      [true, true, true, false],
    ]);
    const { output } = layer.apply(params, x, { mask });
    const rows = await rowsOf(x.slice(0));
    const wanted = await oracle([rows[0], rows[2], rows[3]]);
    const got = await rowsOf(output.slice(0));
    [0, 2, 3].forEach((t, i) => got[t].forEach((v, d) => expect(v).toBeCloseTo(wanted[i][d], 10)));
    expect(got[1]).toEqual([0, 0, 0]);
  });

  test("padding of NaN changes no output and no gradient", async () => {
    const mask = x.slice([], [], 0).gt(0);
    const real = mask.expandDims(-1);
    const gradients = (x: Tensor) =>
      grad(([p, x]: [SoftMoeParams, Tensor]) => layer.apply(p, x, { mask }).output.square().sum())([params, x]);
    const [dirty, clean] = [x.where(real, NaN), x.where(real, 0)].map((x) =>
      treeLeaves([layer.apply(params, x, { mask }).output, gradients(x)]),
    );
    for (const [i, t] of dirty.entries()) expect(await t.toArray()).toEqual(await clean[i].toArray());
    expect((await mask.data()).some((v) => v === 0)).toBe(true);
  });

  test("a sequence of nothing but padding is zero, and no tokens are no output", async () => {
    const mask = zeros([B, T], { dtype: "bool" });
    expect((await layer.apply(params, x, { mask }).output.data()).every((v) => v === 0)).toBe(true);
    expect(layer.apply(params, zeros([0, T, D], { dtype: "f64" })).output.shape).toEqual([0, T, D]);
  });

  test("gradients are those of finite differences, to second order", () =>
    checkGrads(
      (p: SoftMoeParams, x: Tensor) => layer.apply(p, x).output.square().mean(),
      [params, x.slice([0, 1], [0, 3])],
    ));
});
