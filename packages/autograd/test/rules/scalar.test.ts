import { fc, test as property } from "@fast-check/vitest";
import { init, maximum, minimum, tensor, where, type Tensor } from "@switchyard/tensor";
import { apply, scalarOps, type ScalarOp } from "@switchyard/tensor/graph";
import { checkGrads, grad, vjp } from "@switchyard/autograd";
import { describe, expect, test } from "vitest";

await init("cpu");

const row = (values: readonly number[]): Tensor => tensor(values, { dtype: "f64" });

type Range = readonly [low: number, high: number];
const anywhere: Range = [-3, 3];
const positive: Range = [0.2, 4];

/** Where each op is smooth, by operand; the ops left out take or return no floats. */
const domains: Partial<Record<ScalarOp, readonly Range[]>> = {
  neg: [anywhere],
  abs: [positive],
  sign: [positive],
  floor: [[0.1, 0.9]],
  ceil: [[-0.9, -0.1]],
  round: [[0.6, 1.4]],
  exp: [anywhere],
  expm1: [anywhere],
  log: [positive],
  log1p: [positive],
  sqrt: [positive],
  rsqrt: [positive],
  sin: [anywhere],
  cos: [anywhere],
  tan: [[-1, 1]],
  tanh: [anywhere],
  sigmoid: [anywhere],
  softplus: [anywhere],
  relu: [positive],
  erf: [anywhere],
  normalCdf: [anywhere],
  cast: [anywhere],
  add: [anywhere, anywhere],
  sub: [anywhere, anywhere],
  mul: [anywhere, anywhere],
  div: [anywhere, positive],
  pow: [positive, anywhere],
  mod: [
    [2.1, 2.4],
    [1.1, 1.9],
  ],
  minimum: [
    [-3, -1],
    [0, 3],
  ],
  maximum: [
    [-3, -1],
    [0, 3],
  ],
};

const rest = Object.keys(scalarOps).filter((fn) => !(fn in domains));

test("every scalar op of floats to floats is checked", () => {
  const discrete = ["compare", "classify", "bits", "integer", "select"];
  expect(rest.filter((fn) => !discrete.includes(scalarOps[fn as ScalarOp].rule))).toEqual([]);
});

describe.each(Object.entries(domains))("%s", (fn, ranges) => {
  const between = ([min, max]: Range): fc.Arbitrary<number> => fc.double({ min, max, noNaN: true });
  property.prop([fc.array(fc.tuple(...ranges.map(between)), { minLength: 1, maxLength: 3 })])(
    "has the gradient that differences give, to second order",
    (points) => {
      const xs = ranges.map((_, operand) => row(points.map((point) => point[operand])));
      const attrs = fn === "cast" ? { fn, to: "f64" as const } : { fn: fn as ScalarOp };
      return checkGrads(
        (...args: Tensor[]) => apply("map", args as [Tensor, ...Tensor[]], attrs as { fn: ScalarOp }),
        xs,
      );
    },
  );
});

const slope = async (f: (x: Tensor) => Tensor, x: number): Promise<number> =>
  grad((v: Tensor) => f(v).sum())(tensor(x, { dtype: "f64" })).item();
const slopes = async (f: (a: Tensor, b: Tensor) => Tensor, a: number, b: number): Promise<number[]> => {
  const [y, pullback] = vjp(f, tensor(a, { dtype: "f64" }), tensor(b, { dtype: "f64" }));
  return Promise.all(pullback(y.mul(0).add(1)).map((g) => g.item()));
};

test("abs and relu have gradient 0 at 0", async () => {
  expect(await slope((x) => x.abs(), 0)).toBe(0);
  expect(await slope((x) => x.relu(), 0)).toBe(0);
});

test("minimum and maximum split a tie in half", async () => {
  expect(await slopes(maximum, 2, 2)).toEqual([0.5, 0.5]);
  expect(await slopes(minimum, 2, 2)).toEqual([0.5, 0.5]);
});

test("minimum gives its gradient to the smaller, maximum to the larger", async () => {
  expect(await slopes(minimum, 1, 2)).toEqual([1, 0]);
  expect(await slopes(maximum, 1, 2)).toEqual([0, 1]);
});

test("clip has gradient 1 inside, 0 outside and a half on its edges", async () => {
  const clipped = [-2, -1, 0, 1, 2].map((x) => slope((v) => v.clip(-1, 1), x));
  expect(await Promise.all(clipped)).toEqual([0, 0.5, 1, 0.5, 0]);
});

test("sqrt has an infinite gradient at 0", async () => {
  expect(await slope((x) => x.sqrt(), 0)).toBe(Infinity);
});

test("norm and std have gradient 0 at 0", async () => {
  const at = row([0, 0]);
  expect(await grad((x: Tensor) => x.norm())(at).toArray()).toEqual([0, 0]);
  expect(await grad((x: Tensor) => x.std())(at).toArray()).toEqual([0, 0]);
});

test("pow has gradient 0 by its base where the exponent is 0, also at base 0", async () => {
  expect(await slopes((a, b) => a.pow(b), 0, 0)).toEqual([0, 0]);
  expect((await slopes((a, b) => a.pow(b), -2, 0))[0]).toBeCloseTo(0);
});

test("pow has its derivatives at base 0 and by negative bases", async () => {
  expect((await slopes((a, b) => a.pow(b), 0, 1))[0]).toBe(1);
  expect((await slopes((a, b) => a.pow(b), 0, 2))[0]).toBe(0);
  expect((await slopes((a, b) => a.pow(b), -2, 3))[0]).toBe(12);
});

test("pow by its exponent is 0 at base 0 and NaN at a negative base", async () => {
  expect((await slopes((a, b) => a.pow(b), 0, 2))[1]).toBe(0);
  expect((await slopes((a, b) => a.pow(b), -2, 3))[1]).toBeNaN();
});

test("a negative base with a constant whole exponent has its gradients of any order", async () => {
  const second = (x: Tensor): Tensor => grad((y: Tensor) => y.pow(18))(x);
  expect(await slope((x) => x.pow(18), -1)).toBe(-18);
  expect(await slope(second, -1)).toBe(306);
});

test("mod passes its gradient to the dividend, and the whole quotient, negated, to the divisor", async () => {
  expect(await slopes((a, b) => a.mod(b), 7.5, 2)).toEqual([1, -3]);
  expect(await slopes((a, b) => a.mod(b), -7.5, 2)).toEqual([1, 4]);
});

test("where gives its gradient to the branch taken, whatever the other one holds", async () => {
  const x = row([0, 4]);
  const g = grad((v: Tensor) => where(v.gt(0), v.sqrt(), 0).sum())(x);
  expect((await g.data())[1]).toBe(0.25);
  const both = grad((v: Tensor) => where(v.gt(0), v.mul(3), v.mul(5)).sum())(x);
  expect(await both.toArray()).toEqual([5, 3]);
});

test("cast between floats passes the gradient in the input's dtype", async () => {
  const g = grad((v: Tensor) => v.cast("f64").square().sum())(tensor([3]));
  expect(g.dtype).toBe("f32");
  expect(await g.toArray()).toEqual([6]);
});

test("a cast to integers and a comparison have gradient 0", async () => {
  expect(await slope((x) => x.cast("i32").cast("f64"), 2.5)).toBe(0);
  expect(await slope((x) => x.gt(1).cast("f64"), 2.5)).toBe(0);
});

test("the quotient that the divisor of mod gets is whole, whatever rounding did", async () => {
  expect(await slopes((a, b) => a.mod(b), 15 / 7, 0.3)).toEqual([1, -7]);
});
