import { grad, sgd, treeMap } from "@switchyard/autograd";
import { concat, ConfigError, init, matmul, realize, tensor, version, where } from "@switchyard/tensor";
import { expect, test, vi } from "vitest";

vi.resetModules();
const copy = await import("@switchyard/tensor");
await init("cpu");
await copy.init("cpu");

const [x, theirs] = [tensor([1, 2]), copy.tensor([3, 4])];
const index = copy.tensor([0], { dtype: "i32" });

test("the second import is another copy", () => {
  expect(copy.Tensor).not.toBe(x.constructor);
});

test.each<[string, () => unknown]>([
  ["add", () => x.add(theirs)],
  ["matmul", () => matmul(x, theirs)],
  ["matmul", () => copy.matmul(theirs, x)],
  ["concat", () => concat([x, theirs])],
  ["where", () => where(theirs.gt(0), x, 1)],
  ["gather", () => x.gather(index)],
  ["scatter", () => x.segmentSum(copy.tensor([0, 0], { dtype: "i32" }), 1)],
  ["realize", () => realize({ theirs })],
  ["tree", () => treeMap((t) => t, { theirs })],
  ["tree", () => grad((p: { w: typeof x }) => p.w.sum())({ w: theirs })],
  ["tree", () => sgd({ learningRate: 1 }).init({ theirs })],
])("%s refuses a tensor of another copy of the library, naming both versions", async (op, act) => {
  const says = `${op}: a tensor of another copy of @switchyard/tensor (${copy.version}, this is ${version}); deduplicate`;
  const error: unknown = await (async () => act())().catch((reason: unknown) => reason);
  expect((error as Error).message).toContain(says);
  expect([ConfigError.name, copy.ConfigError.name]).toContain((error as Error).constructor.name);
});
