import { init, scope, tensor, where, type Tensor } from "@switchyard/tensor";
import { ledger } from "@switchyard/autograd";
import { expect, test } from "vitest";

await init("cpu", { debug: true });

const bornIn = async (f: (w: Tensor) => Tensor, values: readonly number[]) =>
  (await ledger((p: { w: Tensor }) => f(p.w))({ w: tensor(values) })).firstNonFinite();

test("where all is finite, nothing is born", async () => {
  expect(await bornIn((w) => w.exp().sum(), [1, 2])).toBeNull();
});

test("a NaN of the forward pass is found where it was born, not where it spread", async () => {
  const found = await bornIn(
    (w) =>
      scope("bad", () => w.log())
        .mul(2)
        .sum(),
    [1, -2],
  );
  expect(found).toMatchObject({ what: "NaN", pass: "forward", op: "log", scope: "bad", shape: [2], index: 1 });
  expect(found!.line).toMatch(/nonFinite\.test\.ts:\d+:/);
  expect(String(found)).toMatch(/^NaN was born in log, .*nonFinite\.test\.ts:\d+:\d+, at element 1 of \[2\]$/);
});

test("an infinity that becomes NaN later is found first", async () => {
  const found = await bornIn((w) => w.exp().sub(w.exp()).sum(), [1, 100]);
  expect(found).toMatchObject({ what: "infinity", op: "exp", index: 1 });
});

test("NaN of infinite constants is a birth, the constants are none", async () => {
  const found = await bornIn((w) => where(w.gt(0), w, -Infinity).mul(0).sum(), [1, -1]);
  expect(found).toMatchObject({ what: "NaN", op: "mul", index: 1 });
  expect(await bornIn((w) => where(w.gt(0), w, -Infinity).exp().sum(), [1, -1])).toBeNull();
});

test("what is finite forward may be infinite backward: the rule is named, with the line of its forward operation", async () => {
  const found = await bornIn((w) => scope("root", () => w.sqrt()).sum(), [0, 4]);
  expect(found).toMatchObject({ what: "infinity", pass: "backward", rule: "sqrt", scope: "root", index: 0 });
  expect(found!.line).toMatch(/nonFinite\.test\.ts:/);
  expect(String(found)).toMatch(/^infinity was born in the gradient of sqrt \(div\)/);
});

test("steps tell the first element of a cotangent that is not finite", async () => {
  const book = await ledger((p: { w: Tensor }) =>
    p.w
      .mul(tensor([3, 1]))
      .sqrt()
      .sum(),
  )({ w: tensor([1, 0]) });
  expect(book.of("w").steps.map(({ op, firstNonFinite }) => [op, firstNonFinite])).toEqual([
    ["sum", undefined],
    ["sqrt", undefined],
    ["mul", 1],
  ]);
});
