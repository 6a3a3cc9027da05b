import { init, scope, tensor, where, zeros, type Tensor } from "@switchyard/tensor";
import { checkGrads, customVjp, type Kink } from "@switchyard/autograd";
import { describe, expect, test } from "vitest";

await init("cpu");

const x = tensor([
  [0.5, -1],
  [2, 3],
]);
const rule = (backward: (ct: Tensor, x: Tensor) => Tensor, linear = true): ((x: Tensor) => Tensor) =>
  customVjp({ forward: (v: Tensor) => v.square(), backward: (ct, _y, v) => [backward(ct, v)], linear });

describe("checkGrads passes", () => {
  test("a right gradient, in a tree of arguments with integers and options", () =>
    checkGrads(
      (p: { w: Tensor; rows: Tensor }, o: { scale: number }) => [p.w.gather(p.rows).mul(o.scale).exp(), p.rows],
      [{ w: x, rows: tensor([1, 0, 1], { dtype: "i32" }) }, { scale: 0.3 }],
    ));

  test("points on kinks and jumps", async () => {
    const at0 = tensor([0, 1, -0.5]);
    await checkGrads((v: Tensor) => v.relu().add(v.abs()), [at0]);
    await checkGrads((v: Tensor) => v.floor().mul(v), [at0]);
    await checkGrads((v: Tensor) => v.norm(), [zeros([3])]);
    await checkGrads((v: Tensor) => v.sqrt(), [tensor([0, 4])], { modes: ["reverse"], order: 1 });
    await checkGrads((v: Tensor) => where(v.gt(0), v.square(), v.mul(3)), [at0]);
    await checkGrads((v: Tensor) => v.max(), [tensor([2, 2, 1])]);
  });

  test("a kink so near that a step crosses it", () => checkGrads((v: Tensor) => v.relu(), [tensor([5e-6, -4e-6])]));

  test("empty tensors", () => checkGrads((v: Tensor) => v.exp().sum(), [zeros([0, 3])]));

  test("tied elements of which one gets everything, or each a share", async () => {
    const tied = tensor([2, 2, 1]);
    const shared = customVjp({
      forward: (v: Tensor) => v.max(),
      backward: (ct, y, v) => [ct.mul(v.eq(y).cast(v.dtype).div(2))],
    });
    await checkGrads((v: Tensor) => v.max(), [tied]);
    await checkGrads(shared, [tied]);
    await checkGrads((a: Tensor, b: Tensor) => a.maximum(b), [tied, tied]);
  });

  test("tensors made inside the rule of a customVjp, which are f64 on cpu too", () =>
    checkGrads(
      rule((ct, v) => ct.mul(v).mul(tensor(2))),
      [x],
      { order: 3 },
    ));

  test("tensors made inside, which are f64 on cpu there", () =>
    checkGrads((v: Tensor) => v.mul(tensor([1.5, 2])).add(zeros([2])), [x]));
});

describe("checkGrads rejects", () => {
  test("a wrong gradient, naming its worst entry by argument, path and index", async () => {
    const mask = tensor(
      [
        [1, 1],
        [1.001, 1.5],
      ],
      { dtype: "f64", device: "cpu" },
    );
    const wrong = rule((ct, v) => ct.mul(v).mul(2).mul(mask));
    const check = checkGrads(
      (_: number, p: { layer: { w: Tensor } }) => wrong(p.layer.w).sum(),
      [1, { layer: { w: x } }],
    );
    await expect(check).rejects.toThrow(
      /the reverse derivative of order 1 is wrong in 2 of 4 entries, worst by argument 1\.layer\.w\[1,1\]: expected -?\d\.\d+/,
    );
  });

  test("a gradient that is wrong by a part in ten thousand", () =>
    expect(
      checkGrads(
        rule((ct, v) => ct.mul(v).mul(2.0002)),
        [x],
      ),
    ).rejects.toThrow("is wrong in 4 of 4 entries"));

  test("a gradient that is right but whose own gradient is not", () =>
    expect(
      checkGrads(
        rule((ct, v) => ct.mul(v.stopGradient()).mul(2)),
        [x],
      ),
    ).rejects.toThrow("derivative of order 2"));

  test("that gradient not, when asked for first order only", () =>
    checkGrads(
      rule((ct, v) => ct.mul(v.stopGradient()).mul(2)),
      [x],
      { order: 1 },
    ));

  test("a missing gradient, naming what stopped it", () =>
    expect(checkGrads((v: Tensor) => v.stopGradient().mul(v), [x])).rejects.toThrow(
      /got .*; f has a stopGradient f64\[2,2\] of f64\[2,2\]$/,
    ));

  test("a wrong rule amid right ones, naming its operation and scope, and not what stops a gradient by right", () =>
    expect(
      checkGrads(
        (v: Tensor) =>
          scope("head", () => rule((ct, u) => ct.mul(u))(v.sub(v.max().stopGradient()).softmax())).add(v.max()),
        [x],
      ),
    ).rejects.toThrow(/; the rule at fault is that of customVjp f64\[2,2\] of f64\[2,2\] in scope head$/));

  test("a rule that is at fault in the second gradient, naming the rule it was written by", () =>
    expect(
      checkGrads(
        rule((ct, v) => ct.mul(v.stopGradient()).mul(2)),
        [x],
      ),
    ).rejects.toThrow(/of order 2 .*; f has a stopGradient f64\[2,2\] of f64\[2,2\] in the gradient of customVjp$/));

  test("tied elements of which each gets everything", () =>
    expect(
      checkGrads(
        customVjp({ forward: (v: Tensor) => v.max(), backward: (ct, y, v) => [ct.mul(v.eq(y).cast(v.dtype))] }),
        [tensor([2, 2, 1])],
      ),
    ).rejects.toThrow(
      /where all entries move alike, .*what tied entries get must add up; .* that of customVjp f64\[\]/,
    ));

  test("a function that gives other values when called again", () => {
    let calls = 0;
    return expect(checkGrads((v: Tensor) => v.mul(++calls), [x])).rejects.toThrow(
      "f gives other values when called again",
    );
  });

  test("a NaN in the gradient, also on a kink", () =>
    expect(checkGrads((v: Tensor) => v.square().sum().sqrt(), [zeros([3])])).rejects.toThrow("got NaN"));

  test("a forward derivative that differs from the reverse one", async () => {
    const skew = rule((ct, v) => ct.mul(v).mul(2).add(ct.stopGradient().sub(ct)));
    await expect(checkGrads(skew, [x], { modes: ["forward"], order: 1 })).rejects.toThrow("the forward derivative");
    await checkGrads(skew, [x], { modes: ["reverse"], order: 1 });
  });

  test("a custom rule that is not linear in its cotangent", () =>
    expect(
      checkGrads(
        rule((ct, v) => ct.abs().mul(v).mul(2)),
        [x],
      ),
    ).rejects.toThrow("not linear in its cotangent"));

  test("a closed-over f32 tensor, naming it", () => {
    const closed = tensor([1, 2]);
    return expect(checkGrads((v: Tensor) => v.mul(closed), [x])).rejects.toThrow(
      "f closes over f32[2] on cpu made by tensor; pass it as an argument",
    );
  });

  test("an output that was cast down", () =>
    expect(checkGrads((v: Tensor) => v.cast("f32"), [x])).rejects.toThrow("f returned f32[2,2]"));

  test("arguments and results without floats", async () => {
    await expect(checkGrads((n: number) => n, [1])).rejects.toThrow("no argument holds a float tensor");
    await expect(checkGrads((v: Tensor) => v.argMax(), [x])).rejects.toThrow("f returned no float tensor");
  });

  test("an async function", () =>
    expect(checkGrads(async (v: Tensor) => v, [x])).rejects.toThrow("the function is async"));
});

test("kinks are reported with the slopes on either side", async () => {
  const kinks: Kink[] = [];
  await checkGrads((v: Tensor) => v.abs().sum(), [tensor([1, 0, -2])], {
    order: 1,
    onKink: (kink) => kinks.push(kink),
  });
  expect(kinks.map(({ at, order, mode }) => [at, order, mode])).toEqual([
    ["0[1]", 1, "reverse"],
    ["0[1]", 1, "forward"],
  ]);
  const [{ slopes, got }] = kinks;
  expect(Math.abs(slopes[0])).toBeCloseTo(Math.abs(slopes[1]));
  expect(Math.sign(slopes[0])).toBe(-Math.sign(slopes[1]));
  expect(got).toBe(0);
});

test("the default float is f32 again after a check, also one that threw", async () => {
  await expect(
    checkGrads(
      (v: Tensor) => {
        throw new RangeError(`mine, of ${v.shape}`);
      },
      [x],
    ),
  ).rejects.toThrow("mine");
  expect(zeros([1]).dtype).toBe("f32");
});
