import { fc, test as property } from "@fast-check/vitest";
import { GradientError, init, tensor, type Tensor } from "@switchyard/tensor";
import { call, checkGrads, checkpoint, customVjp, grad } from "@switchyard/autograd";
import { awayFromKinks, tensorOf } from "@switchyard/autograd/testing";
import { expect, test } from "vitest";

await init("cpu");

const x = tensor([-1, 0.5, 2], { dtype: "f64" });
const squaredRelu = customVjp({
  forward: (v: Tensor) => v.relu().square(),
  backward: (ct, _y, v) => [ct.mul(v.relu().mul(2))],
});

test("a custom rule is the gradient", async () => {
  const lying = customVjp({ forward: (v: Tensor) => v.square(), backward: (ct) => [ct.mul(100)] });
  expect(await grad((v: Tensor) => lying(v).sum())(x).toArray()).toEqual([100, 100, 100]);
});

test("a custom rule is differentiated in turn", () => checkGrads(squaredRelu, [x], { order: 3 }));

test("a rule written in the result has second gradients by the rule itself", () =>
  checkGrads(customVjp({ forward: (v: Tensor) => v.exp(), backward: (ct, y) => [ct.mul(y)] }), [x], { order: 3 }));

const parts = {
  squaredRelu: (v: Tensor, w: Tensor) => squaredRelu(v.add(w)),
  quotient: customVjp({
    forward: (v: Tensor, w: Tensor) => v.div(w.square().add(1)),
    backward: (ct, y, _v, w) => {
      const below = w.square().add(1);
      return [ct.div(below), ct.mul(y).mul(w).mul(-2).div(below)];
    },
  }),
  recomputed: checkpoint((v: Tensor, w: Tensor) => v.mul(w).tanh().add(w)),
  named: call("named", (v: Tensor, w: Tensor) => v.sin().mul(w)),
  nested: customVjp({
    forward: (v: Tensor, w: Tensor) => squaredRelu(v).mul(w),
    backward: (ct, _y, v, w) => [ct.mul(v.relu().mul(2)).mul(w), ct.mul(squaredRelu(v))],
  }),
};

property.prop([
  awayFromKinks(tensorOf({ shape: [2], min: -1, max: 1 }), [0]),
  tensorOf({ shape: [2], min: -1, max: 1 }),
  fc.array(fc.constantFrom(...Object.values(parts)), { minLength: 1, maxLength: 3 }),
])("programs of custom rules, checkpoints and calls have right gradients, to third order", (v, w, program) =>
  checkGrads((a: Tensor, b: Tensor) => program.reduce((out, part) => part(out, b), a), [v, w], { order: 3 }),
);

test("null is a gradient of zero", async () => {
  const first = customVjp({
    forward: (a: Tensor, b: Tensor) => a.mul(b),
    backward: (ct, _y, _a, b) => [ct.mul(b), null],
  });
  const g = grad((p: { a: Tensor; b: Tensor }) => first(p.a, p.b).sum())({ a: x, b: x });
  expect(await g.a.toArray()).toEqual([-1, 0.5, 2]);
  expect(await g.b.toArray()).toEqual([0, 0, 0]);
});

test("what forward closes over is a constant", async () => {
  const g = grad((v: Tensor) =>
    customVjp({ forward: (a: Tensor) => a.mul(v), backward: (ct, _y, a) => [ct.mul(a)] })(v).sum(),
  )(x);
  expect(await g.toArray()).toEqual([-1, 0.5, 2]);
});

test("the wrong number, shape or dtype of cotangents is a GradientError", () => {
  const gradOf = (backward: (ct: Tensor) => (Tensor | null)[]): (() => Tensor) => {
    const f = customVjp({ forward: (v: Tensor) => v.mul(2), backward });
    return () => grad((v: Tensor) => f(v).sum())(x);
  };
  expect(gradOf(() => [])).toThrow(GradientError);
  expect(gradOf(() => [])).toThrow("a cotangent or null for each of 1 inputs, got 0");
  expect(gradOf((ct) => [ct.sum()])).toThrow("the cotangent of input 0 must be f64[3] like the input, got f64[]");
  expect(gradOf((ct) => [ct.cast("f32")])).toThrow("got f32[3]");
});

test("a cotangent for an integer input is a GradientError", () => {
  const pick = customVjp({
    forward: (v: Tensor, i: Tensor) => v.gather(i),
    backward: (ct, _y, _v, i) => [ct, i],
  });
  const index = tensor([0, 1, 2], { dtype: "i32" });
  expect(() => grad((v: Tensor) => pick(v, index).sum())(x)).toThrow("input 1 is i32[3], which has no cotangent");
});

test("a call is its body, for values and gradients of any order", async () => {
  const swish = call("swish", (v: Tensor, w: Tensor) => v.mul(v.mul(w).sigmoid()), { beta: true });
  await checkGrads(swish, [x, x], { order: 2 });
  expect(swish(x, x).node).toMatchObject({ op: "call", attrs: { name: "swish", options: { beta: true } } });
});
