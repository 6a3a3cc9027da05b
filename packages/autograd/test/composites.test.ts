import {
  attention,
  crossEntropy,
  dropout,
  einsum,
  init,
  layerNorm,
  logSoftmax,
  random,
  rmsNorm,
  scatterAdd,
  segmentMax,
  segmentSum,
  softmax,
  sort,
  tensor,
  tril,
  type Tensor,
} from "@switchyard/tensor";
import { checkGrads, grad, treeLeaves } from "@switchyard/autograd";
import { acrossDevices } from "@switchyard/autograd/testing";
import { expect, test } from "vitest";

await init("cpu");

const normal = (seed: number, shape: readonly number[]): Tensor =>
  random.normal(random.key(seed), shape, { dtype: "f64" });
const [a, b, c] = [normal(1, [3, 4]), normal(2, [4, 2]), normal(3, [4])];
const segments = [0, 0, 2];

const composites: Record<string, (...xs: Tensor[]) => unknown> = {
  softmax: (x) => softmax(x),
  logSoftmax: (x) => logSoftmax(x, 0),
  logSumExp: (x) => x.logSumExp(1),
  variance: (x) => [x.variance(0), x.std(1), x.norm()],
  gelu: (x) => [x.gelu(), x.silu(), x.square(), x.pow(3), x.add(9).reciprocal()],
  "einsum of two": (x, y) => einsum("ij,jk->ki", x, y),
  "einsum of three": (x, y, z) => einsum("ij,jk,j->k", x, y, z),
  layerNorm: (x, _, z) => layerNorm(x, z, z),
  rmsNorm: (x, _, z) => rmsNorm(x, z),
  crossEntropy: (x) => crossEntropy(x, [1, 0, 3]),
  attention: (x, _, z) =>
    attention(x.reshape([1, 3, 4]), x.mul(z).reshape([1, 3, 4]), x.sin().reshape([1, 3, 4]), { causal: true }),
  dropout: (x) => dropout(random.key(5), x, 0.5),
  "a sort": (x) => sort(x, 0),
  tril: (x) => tril(x).exp(),
  segmentSum: (x) => segmentSum(x.square(), segments, 3),
  segmentMax: (x) => segmentMax(x.square(), segments, 3).slice([0, 1]),
  scatterAdd: (x) => scatterAdd(x, [2, 2], x.slice([0, 2]).square()),
};

test.each(Object.entries(composites))("%s has the gradient of differences, to second order", (_, f) =>
  checkGrads(f, [a, b, c]),
);

const floats = (f: (...xs: Tensor[]) => unknown) => (xs: Tensor[]) =>
  treeLeaves(f(...xs)).reduce((sum, y) => sum.add(y.square().sum()), xs[0].sum());

test.each(Object.entries(composites))("%s and its gradient are the same on cpu and wasm", (_, f) =>
  acrossDevices(
    (...xs: Tensor[]) => [f(...xs), grad(floats(f))(xs)],
    [a, b, c].map((x) => x.cast("f32")),
    { ulps: 64 },
  ),
);

test("what a mask of crossEntropy leaves out gets a gradient of zero, though it is NaN", async () => {
  const mask = tensor([true, false]);
  const logits = tensor([
    [0, 0],
    [NaN, Infinity],
  ]);
  for (const targets of [
    tensor([0, 0], { dtype: "i32" }),
    tensor([
      [1, 0],
      [NaN, 0],
    ]),
  ])
    expect(await grad((x: Tensor) => crossEntropy(x, targets, { mask }))(logits).toArray()).toEqual([
      [-0.5, 0.5],
      [0, 0],
    ]);
});
