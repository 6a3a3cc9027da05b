import { fc, test as property } from "@fast-check/vitest";
import { init, tensor, type Tensor } from "@switchyard/tensor";
import { topologicalOrder } from "@switchyard/tensor/graph";
import { checkGrads, checkpoint, grad, treeLeaves } from "@switchyard/autograd";
import { expect, test } from "vitest";

await init("cpu");

interface Params {
  w: Tensor;
  v: Tensor;
}
const params = (w: readonly number[], v: readonly number[]): Params => ({
  w: tensor(w, { shape: [2, 2] }),
  v: tensor(v, { shape: [2, 2] }),
});
const values = fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: 4, maxLength: 4 });

const inner = (x: Tensor, w: Tensor): Tensor => x.matmul(w).tanh();
const block = (p: Params, x: Tensor): { out: Tensor; aux: Tensor } => {
  const h = inner(x, p.w);
  return { out: h.matmul(p.v).add(x).sin(), aux: h.square().sum() };
};
type Block = typeof block;
const lossThrough =
  (layer: Block) =>
  (p: Params, x: Tensor): Tensor => {
    const first = layer(p, x);
    const second = layer(p, first.out);
    return second.out.sum().add(first.aux.mul(0.5)).add(second.aux);
  };

const nested: Block = checkpoint((p: Params, x: Tensor) => {
  const h = checkpoint(inner)(x, p.w);
  return { out: h.matmul(p.v).add(x).sin(), aux: h.square().sum() };
});

property.prop([values, values, values])(
  "gradients through checkpoints, also nested ones, are bitwise those without",
  async (w, v, x) => {
    const p = params(w, v);
    const input = tensor(x, { shape: [2, 2] });
    const plain = await dataOf(grad(lossThrough(block))(p, input));
    expect(await dataOf(grad(lossThrough(checkpoint(block)))(p, input))).toEqual(plain);
    expect(await dataOf(grad(lossThrough(nested))(p, input))).toEqual(plain);
  },
);

const dataOf = (tree: unknown): Promise<unknown[]> => Promise.all(treeLeaves(tree).map((t) => t.data()));

test("the gradient computes the body again, after the cotangent of its results, and needs nothing kept from it", () => {
  const p = params([1, 2, 3, 4], [1, 0, 0, 1]);
  const grads = grad((q: Params) => checkpoint(block)(q, p.w).out.sum())(p);
  const tanhs = topologicalOrder(treeLeaves(grads).map((g) => g.node)).filter(
    (n) => n.op === "map" && n.attrs.fn === "tanh",
  );
  expect(tanhs).toHaveLength(1);
  expect(topologicalOrder(tanhs).some((n) => n.op === "after")).toBe(true);
});

test("a tensor that the body closes over has its gradient too", async () => {
  const x = tensor([1, 2]);
  const g = grad((w: Tensor) => checkpoint((v: Tensor) => v.mul(w).exp())(x).sum())(tensor([0.5, 0.25]));
  const plain = grad((w: Tensor) => x.mul(w).exp().sum())(tensor([0.5, 0.25]));
  expect(await g.toArray()).toEqual(await plain.toArray());
});

test("checkpoints have gradients of second order", () =>
  checkGrads(
    (p: Params, x: Tensor) => lossThrough(nested)(p, x),
    [params([0.1, 0.5, -0.3, 0.2], [1, 0.2, 0.3, -1]), tensor([1, 2, 3, 4], { shape: [2, 2] })],
  ));

test("a parameter of the name that checkpoints have has its gradient", async () => {
  const square = checkpoint((w: Tensor) => w.mul(w));
  const g = grad((p: { checkpoint: Tensor }) => square(p.checkpoint).add(p.checkpoint).sum())({
    checkpoint: tensor([1, 2]),
  });
  expect(await g.checkpoint.toArray()).toEqual([3, 5]);
});

test("a function of no tensors is itself", () => {
  expect(checkpoint((n: number) => n + 1)(2)).toBe(3);
});
