import { fc, test as property } from "@fast-check/vitest";
import {
  argsort,
  concat,
  cummax,
  groupedMatmul,
  init,
  matmul,
  ones,
  scatter,
  stopGradient,
  takeAlongAxis,
  tensor,
  topK,
  type Tensor,
} from "@switchyard/tensor";
import { apply, topologicalOrder } from "@switchyard/tensor/graph";
import { checkGrads, grad, vjp } from "@switchyard/autograd";
import { describe, expect, test } from "vitest";

await init("cpu");

/** Tensors with distinct elements, so that extremes have no ties: a shuffle of numbers 0.3 apart around 0. */
const distinct = (shape: readonly number[]): fc.Arbitrary<Tensor> => {
  const size = shape.reduce((n, extent) => n * extent, 1);
  const values = Array.from({ length: size }, (_, i) => (i - size / 2) * 0.3 + 0.1);
  return fc.shuffledSubarray(values, { minLength: size }).map((data) => tensor(data, { shape, dtype: "f64" }));
};
const extent = fc.integer({ min: 1, max: 3 });
const of = (...extents: fc.Arbitrary<number>[]): fc.Arbitrary<Tensor> => fc.tuple(...extents).chain(distinct);
const matrix = of(extent, fc.integer({ min: 1, max: 4 }));
const row = (values: readonly number[]): Tensor => tensor(values, { dtype: "f64" });
const gradOfSum = (f: (x: Tensor) => Tensor, x: Tensor): Promise<unknown> =>
  grad((v: Tensor) => f(v).sum())(x).toArray();

describe("views", () => {
  property.prop([of(extent, extent, extent)])("reshape, permute and expand have the gradients of differences", (x) =>
    checkGrads((v: Tensor) => v.permute([2, 0, 1]).reshape([-1, 1]).broadcastTo([x.size, 2]).square(), [x]),
  );

  property.prop([
    of(fc.integer({ min: 1, max: 7 })),
    fc.integer({ min: -8, max: 8 }),
    fc.integer({ min: -8, max: 8 }),
    fc.constantFrom(-3, -2, -1, 1, 2, 3),
  ])("slice with any step has the gradient of differences", (x, start, stop, step) =>
    checkGrads((v: Tensor) => v.slice([start, stop, step]).square(), [x]),
  );

  property.prop([matrix, fc.integer({ min: 0, max: 2 }), fc.integer({ min: 0, max: 2 })])(
    "pad, with gaps inside too, has the gradient of differences",
    (x, width, gap) =>
      checkGrads(
        (v: Tensor) => apply("pad", [v.square()], { low: [width, 0], high: [0, width], interior: [gap, 1] }),
        [x],
      ),
  );

  property.prop([matrix, matrix])("concat gives each input its own part", (x, y) =>
    checkGrads((a: Tensor, b: Tensor) => concat([a.reshape([-1]), b.reshape([-1]), a.reshape([-1])]).square(), [x, y]),
  );

  property.prop([matrix, fc.constantFrom(0, 1)])("concat along either axis of matrices does, too", (x, axis) =>
    checkGrads((a: Tensor, b: Tensor) => concat([a, b, a], axis).square(), [x, x]),
  );
});

describe("what was split", () => {
  property.prop([of(fc.integer({ min: 3, max: 6 }), extent), fc.boolean()])(
    "has the gradient of differences, whichever parts of it are used, overlapping ones too",
    (x, all) => {
      const third = Math.floor(x.shape[0] / 3);
      return checkGrads(
        (v: Tensor) => {
          const [a, b, c] = v.split([third, third, x.shape[0] - 2 * third]);
          const parts = [
            a.square().sum(),
            c.mul(3).square().sum(),
            v
              .slice([1, third + 1])
              .sin()
              .sum(),
          ];
          return parts.reduce((sum, part) => sum.add(part), all ? b.exp().sum() : x.sum());
        },
        [x],
      );
    },
  );

  test("is put together by one concat, without a sum", () => {
    const loss = (x: Tensor): Tensor => {
      const [a, b, c] = x.split(3, 1);
      return b.prod().mul(c.prod()).mul(a.prod());
    };
    const ops = operations(grad(loss)(ones([2, 6])));
    expect(ops.filter(([op]) => op === "concat").at(-1)).toEqual(["concat", 3]);
    expect(ops.map(([op]) => op)).not.toContain("pad");
  });

  test("in many parts is put together without a sum, by concats of no more than 64", () => {
    const cut = (x: Tensor): Tensor =>
      x
        .split(200)
        .reduce((product, part) => product.mul(part), ones([1]))
        .sum();
    const ops = operations(grad(cut)(ones([200])));
    const widths = ops.flatMap(([op, inputs]) => (op === "concat" ? [inputs] : []));
    expect([Math.max(...widths), widths.length]).toEqual([64, Math.ceil(199 / 63)]);
    expect(ops.map(([op]) => op)).not.toContain("pad");
  });
});

/** The operations that a tensor is computed by, from the first to the last, with how many inputs each has. */
const operations = ({ node }: Tensor) => topologicalOrder([node]).map(({ op, inputs }) => [op, inputs.length] as const);

describe("reduce", () => {
  const axes = fc.constantFrom<number | number[] | undefined>(undefined, 0, -1, [0, 2], [1, 2]);
  for (const op of ["sum", "prod", "max", "min"] as const) {
    property.prop([of(extent, extent, extent), axes])(
      `${op} over any axes has the gradient of differences`,
      (x, axis) => checkGrads((v: Tensor) => v[op](axis), [x]),
    );
  }

  test("max and min give to the lowest index among ties", async () => {
    expect(await gradOfSum((x) => x.max(), row([1, 3, 3]))).toEqual([0, 1, 0]);
    expect(await gradOfSum((x) => x.min(), row([2, 1, 1]))).toEqual([0, 1, 0]);
  });

  test("max over two axes gives to the first tie in row-major order", async () => {
    const x = tensor(
      [
        [0, 5],
        [5, 5],
      ],
      { dtype: "f64" },
    );
    expect(await gradOfSum((v) => v.max(), x)).toEqual([
      [0, 1],
      [0, 0],
    ]);
  });

  test.each([
    [
      [2, 0, 3],
      [0, 6, 0],
    ],
    [
      [0, 0, 3],
      [0, 0, 0],
    ],
    [
      [0, 0, 0],
      [0, 0, 0],
    ],
  ])("prod of %j has the gradient %j: zeros are no exception", async (x, wanted) => {
    expect(await gradOfSum((v) => v.prod(), row(x))).toEqual(wanted);
  });

  test("the second gradient of prod is right at zeros", () =>
    checkGrads((v: Tensor) => v.prod(), [row([2, 0, 3, 0])], { order: 3 }));
});

describe("scan", () => {
  const options = fc.record({ reverse: fc.boolean(), exclusive: fc.boolean() });
  property.prop([matrix, options])("cumsum has the gradient of differences", (x, o) =>
    checkGrads((v: Tensor) => v.square().cumsum(-1, o), [x]),
  );

  property.prop([of(extent, fc.integer({ min: 1, max: 9 })), options])(
    "cumprod has the gradient of differences",
    (x, o) => checkGrads((v: Tensor) => v.cumprod(-1, o), [x]),
  );

  property.prop([fc.array(fc.constantFrom(0, 0, 1.5, -2), { minLength: 1, maxLength: 7 }), options])(
    "cumprod has the gradient of differences with any number of zeros, to second order",
    (x, o) => checkGrads((v: Tensor) => v.cumprod(-1, o), [row(x)]),
  );

  property.prop([matrix, options])("cummax has the gradient of differences", (x, o) =>
    checkGrads((v: Tensor) => (o.exclusive ? cummax(v, -1, o).maximum(-50) : cummax(v, -1, o)), [x]),
  );

  test("cummax gives to the element that set it, the first among equals", async () => {
    expect(await gradOfSum((x) => cummax(x), row([1, 3, 2, 3, 4]))).toEqual([1, 3, 0, 0, 1]);
    expect(await gradOfSum((x) => cummax(x, -1, { reverse: true }), row([1, 3, 2, 3, 4]))).toEqual([0, 0, 0, 0, 5]);
  });

  test("an exclusive cummax gives nothing for its first element", async () => {
    const ct = row([7, 1, 1]);
    const [, pullback] = vjp((x: Tensor) => cummax(x, -1, { exclusive: true }), row([2, 1, 5]));
    expect(await pullback(ct)[0].toArray()).toEqual([2, 0, 0]);
  });
});

describe("matrix products", () => {
  property.prop([
    fc.tuple(extent, extent, extent, extent).chain(([b, m, k, n]) => fc.tuple(distinct([b, m, k]), distinct([k, n]))),
  ])("matmul with broadcast batches has the gradient of differences", ([a, b]) =>
    checkGrads((x: Tensor, y: Tensor) => matmul(x, y), [a, b]),
  );

  const grouped = fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 1, maxLength: 3 }).chain((sizes) => {
    const offsets = [0];
    for (const size of sizes) offsets.push(offsets.at(-1)! + size);
    const rows = offsets.at(-1)! + 1;
    return fc.tuple(distinct([rows, 2]), distinct([sizes.length, 2, 3]), distinct([rows, 3]), fc.constant(offsets));
  });

  property.prop([grouped])(
    "groupedMatmul has the gradient of differences in both modes, empty groups and rows past the end included",
    async ([lhs, rhs, other, offsets]) => {
      const at = tensor(offsets, { dtype: "i32" });
      await checkGrads((x: Tensor, y: Tensor, o: Tensor) => groupedMatmul(x, y, o), [lhs, rhs, at]);
      await checkGrads(
        (x: Tensor, y: Tensor, o: Tensor) => groupedMatmul(x, y, o, { mode: "contract" }),
        [lhs, other, at],
      );
    },
  );

  test("the gradient of groupedMatmul contains no scatter, only its own two modes", () => {
    const [lhs, rhs] = [
      tensor([
        [1, 2],
        [3, 4],
        [5, 6],
      ]),
      tensor([
        [[1], [2]],
        [[3], [4]],
      ]),
    ];
    const offsets = tensor([0, 1, 3], { dtype: "i32" });
    const loss = (p: { lhs: Tensor; rhs: Tensor }): Tensor => groupedMatmul(p.lhs, p.rhs, offsets).square().sum();
    const grads = grad(loss)({ lhs, rhs });
    const ops = topologicalOrder([grads.lhs.node, grads.rhs.node]).map((n) => n.op);
    expect(ops.filter((op) => op === "groupedMatmul")).toHaveLength(3);
    expect(ops).not.toContain("scatter");
    expect(ops).not.toContain("gather");
  });
});

describe("indexing", () => {
  const indices = fc.array(fc.integer({ min: -1, max: 3 }), { minLength: 1, maxLength: 5 });

  property.prop([of(fc.constant(3), fc.constant(3)), indices, fc.constantFrom(0, 1)])(
    "gather has the gradient of differences, duplicates and indices out of range included",
    (x, index, axis) => checkGrads((v: Tensor) => v.square().gather(index, axis), [x]),
  );

  property.prop([indices.chain((index) => fc.tuple(fc.constant(index), distinct([2, index.length])))])(
    "scatter by add, set and max has the gradient of differences",
    async ([index, updates]) => {
      for (const op of ["add", "set", "max"] as const)
        await checkGrads((v: Tensor) => scatter(v, index, [2, 3], { op, axis: 1 }).maximum(-40), [updates]);
    },
  );

  property.prop([fc.array(fc.integer({ min: 0, max: 2 }), { minLength: 6, maxLength: 6 }), distinct([2, 3, 2])])(
    "scatter with batch axes has the gradient of differences",
    async (index, updates) => {
      const at = tensor(index, { shape: [2, 3], dtype: "i32" });
      for (const op of ["add", "set", "max"] as const)
        await checkGrads(
          (v: Tensor, i: Tensor) => scatter(v, i, [2, 3, 2], { op, axis: 1, batch: 1 }).maximum(-40),
          [updates, at],
        );
    },
  );

  test("scatter by set gives to the last update of a place, by max to the largest, the first among ties", async () => {
    const updates = row([1, 5, 5, 2]);
    const put = (op: "set" | "max") => gradOfSum((u) => scatter(u, [0, 0, 0, 1], [2], { op }), updates);
    expect(await put("set")).toEqual([0, 0, 1, 1]);
    expect(await put("max")).toEqual([0, 1, 0, 1]);
  });

  property.prop([of(extent, fc.constant(4))])(
    "the values of topK and of a sort have the gradient of differences",
    async (x) => {
      await checkGrads((v: Tensor) => topK(v, 2).values.square(), [x]);
      await checkGrads((v: Tensor) => takeAlongAxis(v, argsort(v)).square(), [x]);
    },
  );
});

describe("identities", () => {
  test("stopGradient has gradient 0 and does not touch the rest", async () => {
    expect(await gradOfSum((x) => x.mul(stopGradient(x)), row([2, 3]))).toEqual([2, 3]);
  });

  test("a transfer passes its gradient back to the device that the value came from", async () => {
    const g = grad((x: Tensor) => x.to("wasm").square().sum())(row([2, 3]));
    expect(g.device).toBe("cpu");
    expect(await g.toArray()).toEqual([4, 6]);
  });

  test("after passes its gradient to the value and none to what it waits for", async () => {
    const g = grad((p: { x: Tensor; t: Tensor }) => apply("after", [p.x, p.t], {}).sum())({ x: row([1]), t: row([2]) });
    expect([await g.x.item(), await g.t.item()]).toEqual([1, 0]);
  });
});
