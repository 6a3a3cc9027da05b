import {
  concat,
  groupedMatmul,
  init,
  mark,
  scope,
  softmax,
  stopGradient,
  tensor,
  term,
  topK,
  where,
  type Tensor,
} from "@switchyard/tensor";
import { customVjp, ledger, type Zero } from "@switchyard/autograd";
import { describe, expect, test } from "vitest";

await init("cpu");

const x = (values: readonly number[]): Tensor => tensor(values);

/** Why elements of the gradient of `f` by one tensor are zero: reason and number of elements. */
async function why(f: (w: Tensor) => Tensor, w: Tensor, index?: readonly number[]): Promise<Zero[] | undefined> {
  const found = (await ledger((p: { w: Tensor }) => f(p.w))({ w })).of("w", index).why;
  return found && [...found];
}
const reasons = async (f: (w: Tensor) => Tensor, w: Tensor, index?: readonly number[]): Promise<unknown[]> =>
  ((await why(f, w, index)) ?? []).map(({ reason, elements }) => [reason, elements]);

const shareOf = (w: Tensor): Tensor => w.div(w.sum(-1, { keepDims: true }));

test("what is not zero needs no reason", async () => {
  expect(await why((w) => w.square().sum(), x([1, 2]))).toBeUndefined();
  expect(await why((w) => w.relu().sum(), x([1, -2]), [0])).toBeUndefined();
});

describe("an exact zero is", () => {
  test.each<[string, number, (w: Tensor) => Tensor, Tensor]>([
    ["saturated", 2, (w) => w.relu().sum(), x([1, -2, -3])],
    ["saturated", 1, (w) => w.sigmoid().sum(), x([1, 200])],
    ["saturated", 1, (w) => w.clip(-1, 1).sum(), x([0.5, 3])],
    ["saturated", 1, (w) => w.cos().sum(), x([0, 1])],
    ["saturated", 1, (w) => w.expm1().sum(), x([1, -200])],
    ["saturated", 1, (w) => x([5, 7]).mod(w).sum(), x([9, 2])],
    ["saturated", 2, (w) => w.floor().sum().add(w.mul(0).sum()), x([0.5, 3])],
    ["masked", 1, (w) => where(x([1, 0]).gt(0), w, 7).sum(), x([1, 2])],
    ["masked", 1, (w) => w.mul(x([1, 0]).gt(0).cast("f32")).sum(), x([1, 2])],
    ["zero weight", 2, (w) => w.square().sum().mul(0), x([1, 2])],
    ["zero input", 1, (w) => w.mul(x([1, 0])).sum(), x([1, 2])],
    [
      "zero input",
      1,
      (w) =>
        x([1, 0])
          .reshape([1, 2])
          .matmul(w.reshape([2, 1]))
          .sum(),
      x([1, 2]),
    ],
    ["unselected", 2, (w) => w.gather([1, 1]).sum(), x([1, 2, 3])],
    ["unselected", 1, (w) => w.slice([0, 2]).sum(), x([1, 2, 3])],
    ["unselected", 2, (w) => w.max(), x([1, 2, 3])],
    ["unselected", 1, (w) => w.cumsum(0, { exclusive: true }).sum(), x([1, 2, 3])],
    ["zero input", 2, (w) => w.cumprod(0).sum(), x([0, 2, 3])],
    ["tie", 1, (w) => w.max(), x([3, 3])],
    ["unselected expert", 2, (w) => topK(w, 1).values.sum(), x([1, 3, 2])],
    ["tie", 1, (w) => topK(w, 1).values.sum(), x([3, 3])],
    ["underflow", 1, (w) => w.exp().sum(), x([1, -200])],
    ["saturated", 1, (w) => w.exp().sum(), x([1, -Infinity])],
    ["underflow", 1, (w) => softmax(w).slice([0, 1]).sum(), x([0, -200])],
    ["underflow", 1, (w) => w.exp().mul(w.exp()).sum(), x([1, -60])],
    ["underflow", 2, (w) => w.mul(1e-30).mul(1e-30).sum(), x([1, 2])],
    ["underflow", 1, (w) => w.log().mul(1e-30).sum(), x([1, 1e30])],
    ["underflow", 1, (w) => w.mul(1e-30).square().mul(w).sum(), x([0, 1])],
    ["underflow", 1, (w) => x([0, 3]).div(w).sum(), x([1e30, 1e30])],
    ["zero input", 1, (w) => x([0, 3]).div(w).sum(), x([1e30, 1e30])],
    ["underflow", 1, (w) => w.rsqrt().sum(), x([1, 1e37])],
    ["underflow", 1, (w) => x([1, 1e-30, 0.5]).pow(w).sum(), x([3, 3, 3])],
    ["saturated", 1, (w) => x([1, 1e-30, 0.5]).pow(w).sum(), x([3, 3, 3])],
    ["underflow", 3, (w) => w.prod(), x([1e-30, 1e-30, 1e-30])],
    ["zero input", 2, (w) => w.prod(), x([0, 1e-30, 1])],
    ["underflow", 1, (w) => w.cumprod(0).slice([2, 3]).sum(), x([1e-30, 1e-30, 1e-30])],
    [
      "underflow",
      1,
      (w) =>
        w
          .reshape([1, 2])
          .matmul(x([1e-30, 1]).reshape([2, 1]))
          .sum()
          .mul(1e-30),
      x([1, 1]),
    ],
    ["cancelled", 2, (w) => w.sub(w.mul(1)).sum(), x([1, 2])],
    [
      "cancelled",
      1,
      (w) =>
        w
          .reshape([1, 1])
          .matmul(x([1e-20, 1e-20]).reshape([1, 2]))
          .mul(x([1e-20, -1e-20]).reshape([1, 2]))
          .sum(),
      x([1]),
    ],
    [
      "cancelled",
      2,
      (w) =>
        w
          .mean()
          .mul(x([1, -1]))
          .sum(),
      x([1, 2]),
    ],
    ["renormalised top-1", 2, (w) => softmax(w.reshape([2, 1])).sum(), x([1, 2])],
    [
      "renormalised top-1",
      2,
      (w) =>
        shareOf(w.reshape([2, 1]))
          .square()
          .sum(),
      x([3, 7]),
    ],
  ])("%s (%i)", async (reason, elements, f, w) => {
    expect(await reasons(f, w)).toContainEqual([reason, elements]);
  });

  test("stopped, by stopGradient or by a custom rule that gives nothing", async () => {
    const half = (w: Tensor): Tensor =>
      stopGradient(w)
        .sum()
        .add(w.slice([0, 1]).sum());
    expect(await reasons(half, x([1, 2]))).toEqual([["stopped", 1]]);
    const silent = customVjp({
      forward: (a: Tensor, b: Tensor) => a.mul(b),
      backward: (ct, _y, _a, b) => [ct.mul(b), null],
    });
    const f = (w: Tensor): Tensor => silent(w.slice([0, 1]), w.slice([1, 2])).sum();
    expect(await reasons(f, x([1, 2]))).toContainEqual(["stopped", 1]);
  });

  test("an expert that no token was sent to", async () => {
    const offsets = tensor([0, 2, 2, 3], { dtype: "i32" });
    const rows = tensor([[1], [2], [3]]);
    const found = await why((w) => groupedMatmul(rows, w, offsets).sum(), x([1, 2, 3]).reshape([3, 1, 1]));
    expect(found).toEqual([
      { reason: "unselected expert", detail: "no token was sent to the expert", class: {}, elements: 1 },
    ]);
  });

  test("what a condition marked as dropped hides", async () => {
    const dropped = mark("dropped", x([0, 1]).gt(0));
    expect(await reasons((w) => where(dropped.not(), w, 0).sum(), x([1, 2]))).toEqual([["dropped", 1]]);
  });
});

describe("where no path leads, the nearest cut says so", () => {
  test.each<[string, RegExp, (w: Tensor) => Tensor]>([
    ["no path", /the loss does not use it/, () => x([1]).sum()],
    ["stopped", /stopGradient is on the only ways/, (w) => scope("here", () => stopGradient(w.square())).sum()],
    [
      "no path",
      /through gt alone/,
      (w) =>
        scope("here", () => w.gt(0))
          .cast("f32")
          .sum(),
    ],
    ["no path", /through argReduce alone/, (w) => scope("here", () => w.argMax()).cast("f32")],
    ["no path", /through round alone/, (w) => scope("here", () => w.round()).sum()],
  ])("%s, %s", async (reason, detail, f) => {
    const found = await why((w) => f(w.slice([0, 2])), x([1, 2]));
    expect(found).toHaveLength(1);
    expect(found![0]).toMatchObject({ reason, detail: expect.stringMatching(detail), elements: 2 });
    if (found![0].at !== undefined) expect(found![0].at).toBe("here");
  });

  test("and its total is zeros of its shape", async () => {
    const entry = (await ledger((p: { w: Tensor; v: Tensor }) => p.v.sum())({ w: x([1, 2]), v: x([3]) })).of("w");
    expect([entry.norm, entry.parts, [...(await entry.total.data())]]).toEqual([0, [], [0, 0]]);
  });
});

describe("the reason is the one that holds at the element", () => {
  const f = (w: Tensor): Tensor => concat([w.slice([0, 2]).relu(), w.slice([2, 4]).mul(0)], 0).sum();

  test("element by element", async () => {
    const w = x([-1, 5, 2, 3]);
    expect(await reasons(f, w, [0])).toEqual([["saturated", 1]]);
    expect(await reasons(f, w, [2])).toEqual([["zero weight", 1]]);
  });

  test("nearest to the loss, where one zero lies below another", async () => {
    // The weight is 0, so relu has nothing to kill; without it, relu would.
    expect(await reasons((w) => w.relu().sum().mul(0), x([-1]))).toEqual([["saturated", 1]]);
    expect(await reasons((w) => w.relu().sum().mul(0), x([1]))).toEqual([["zero weight", 1]]);
  });

  test("whatever underflows on the way from there", async () => {
    expect(await reasons((w) => w.relu().mul(1e-30).mul(1e-30).sum(), x([-1, 1]))).toEqual([
      ["saturated", 1],
      ["underflow", 1],
    ]);
    expect(await reasons((w) => w.mul(1e-30).mul(1e-30).neg().relu().sum(), x([1]))).toEqual([["saturated", 1]]);
  });

  test("for each class on its own", async () => {
    const g = (w: Tensor): Tensor => term("a", w.relu().sum()).add(term("b", w.sum().mul(0)));
    const found = await why(g, x([-1]));
    const byClass = Object.fromEntries(found!.map(({ class: cls, reason }) => [cls!.term, reason]));
    expect(byClass).toEqual({ a: "saturated", b: "zero weight" });
  });

  test("and where only the classes together are zero, that they cancel", async () => {
    const g = (w: Tensor): Tensor => term("a", w.sum()).sub(term("b", w.sum()));
    expect(await reasons(g, x([1, 2]))).toEqual([["cancelled", 2]]);
  });
});

test.each([
  ["f16", 2 ** -15],
  ["f64", 1e-200],
] as const)("a product too small for %s is told from a sum that cancels", async (dtype, tiny) => {
  const row = (...values: number[]): Tensor => tensor([values], { dtype });
  const f = (w: Tensor): Tensor => w.reshape([1, 1]).matmul(row(tiny, tiny)).mul(row(tiny, tiny)).sum();
  const g = (w: Tensor): Tensor => w.reshape([1, 1]).matmul(row(1, 1)).mul(row(tiny, -tiny)).sum();
  expect(await reasons((w) => w.mul(tensor([1, 0], { dtype })).sum(), tensor([1, 2], { dtype }))).toEqual([
    ["zero input", 1],
  ]);
  expect(await reasons(f, tensor([1], { dtype }))).toEqual([["underflow", 1]]);
  expect(await reasons(g, tensor([1], { dtype }))).toEqual([["cancelled", 1]]);
});

test("zeros are found with their scopes, and in debug their lines", async () => {
  const [zero] = (await why((w) => scope("layer", () => w.relu()).sum(), x([-1])))!;
  expect(zero.at).toBe("layer");
});
