import { ConfigError, ShapeError, init, tensor } from "@switchyard/tensor";
import { grad, ledger, treeFlatten, treeLeaves, treeMap, treePaths, treeUnflatten } from "@switchyard/autograd";
import { expect, test } from "vitest";

await init("cpu");

const [a, b, c] = [tensor(1), tensor(2), tensor(3)];
const model = {
  layers: [{ moe: { router: { gate: a } } }, { moe: { router: { gate: b } } }],
  head: c,
  name: "m",
  step: 3,
};

test("paths name tensors by keys and positions", () => {
  expect(treePaths(model)).toEqual(["layers.0.moe.router.gate", "layers.1.moe.router.gate", "head"]);
});

test("a lone tensor is a tree with one leaf at the empty path", () => {
  expect([treeLeaves(a), treePaths(a)]).toEqual([[a], [""]]);
});

test("unflattening what was flattened gives an equal tree with the same tensors", () => {
  const [leaves, structure] = treeFlatten(model);
  const again = treeUnflatten<typeof model>(structure, leaves);
  expect(again).toEqual(model);
  expect(again.layers[1].moe.router.gate).toBe(b);
});

test("numbers, strings, null and instances of classes pass through untouched", () => {
  const date = new Date(0);
  expect(treeMap((x) => x, { a: 1, b: "x", c: null, d: undefined, e: date, f: [2, a] })).toEqual({
    a: 1,
    b: "x",
    c: null,
    d: undefined,
    e: date,
    f: [2, a],
  });
});

test("treeMap pairs trees by name, whatever the order of their keys", async () => {
  const sums = treeMap((x, y) => x.sub(y), { p: a, q: b }, { q: a, p: c });
  expect([await sums.p.item(), await sums.q.item()]).toEqual([-2, 1]);
});

test("trees of different structure are an error that names the path", () => {
  expect(() => treeMap((x) => x, { p: { w: a } }, { p: { v: a } })).toThrow(ShapeError);
  expect(() => treeMap((x) => x, { p: { w: a } }, { p: { v: a } })).toThrow("treeMap: the trees differ at p");
  expect(() => treeMap((x) => x, { p: [a] }, { p: [] })).toThrow(
    "at p: one has an array of 1, the other an array of 0",
  );
  expect(() => treeMap((x) => x, { p: a }, { p: 3 })).toThrow("at p: one has a tensor, the other 3");
});

test("treeUnflatten refuses too many or too few leaves", () => {
  const [, structure] = treeFlatten([a, b]);
  expect(() => treeUnflatten(structure, [a])).toThrow("the structure has 2 leaves, got 1 tensors");
});

test("an interface is a tree like any other", () => {
  interface Params {
    w: typeof a;
    bias?: typeof a;
  }
  const params: Params = { w: a };
  const doubled: Params = treeMap((x) => x.mul(2), params);
  expect(treePaths(doubled)).toEqual(["w"]);
});

test("a tree with two tensors whose paths read alike has no paths, but gradients", async () => {
  const two = { "a.b": tensor(2), a: { b: tensor(3) } };
  const message = /two tensors are at "a\.b"; a key with a dot in it/;
  expect(() => treePaths(two)).toThrow(ConfigError);
  expect(() => treePaths(two)).toThrow(message);
  expect(() => treePaths({ a: [tensor(1)], "a.0": tensor(2) })).toThrow(ConfigError);
  const product = (p: typeof two) => p["a.b"].mul(p.a.b);
  await expect(ledger(product)(two)).rejects.toThrow(message);
  const { "a.b": byOne, a } = grad(product)(two);
  expect([await byOne.item(), await a.b.item()]).toEqual([3, 2]);
  expect(treePaths({ "a.b": tensor(1), a: tensor(2) })).toEqual(["a.b", "a"]);
});
