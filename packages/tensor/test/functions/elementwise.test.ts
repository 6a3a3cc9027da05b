import { beforeAll, describe, expect, test } from "vitest";
import { fc, test as property } from "@fast-check/vitest";
import * as sw from "@switchyard/tensor";
import { init, tensor, zeros, type Tensor } from "@switchyard/tensor";
import { broadcastableShapes, shape, tensorOf } from "@switchyard/tensor/testing";
import { atBroadcast, build, expectClose, hostOf } from "../host.ts";

beforeAll(() => init("cpu"));

const anything = { corners: true, noNaN: false, noInfinity: false } as const;
const anyFloat = tensorOf({ shape: shape({ maxDims: 3 }), dtype: "f64", ...anything });

const sign = (x: number): number => (x > 0 ? 1 : x < 0 ? -1 : x);
const halfEven = (x: number): number => {
  const below = Math.floor(x);
  if (x - below === 0.5) return below % 2 === 0 ? below : below + 1;
  return Math.round(x);
};

const unary: Readonly<Record<string, (x: number) => number>> = {
  neg: (x) => -x,
  abs: Math.abs,
  sign,
  floor: Math.floor,
  ceil: Math.ceil,
  round: halfEven,
  exp: Math.exp,
  expm1: Math.expm1,
  log: Math.log,
  log1p: Math.log1p,
  sqrt: Math.sqrt,
  rsqrt: (x) => 1 / Math.sqrt(x),
  sin: Math.sin,
  cos: Math.cos,
  tan: Math.tan,
  tanh: Math.tanh,
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  softplus: (x) => (x > 30 ? x : Math.log1p(Math.exp(x))),
  relu: (x) => (x < 0 ? 0 : x),
  square: (x) => x * x,
  reciprocal: (x) => 1 / x,
  silu: (x) => x / (1 + Math.exp(-x)),
};

const modulo = (a: number, b: number): number => (a % b !== 0 && a % b < 0 !== b < 0 ? (a % b) + b : a % b);

const binary: Readonly<Record<string, (a: number, b: number) => number>> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  pow: Math.pow,
  mod: modulo,
  minimum: Math.min,
  maximum: Math.max,
  eq: (a, b) => Number(a === b),
  ne: (a, b) => Number(a !== b),
  lt: (a, b) => Number(a < b),
  le: (a, b) => Number(a <= b),
  gt: (a, b) => Number(a > b),
  ge: (a, b) => Number(a >= b),
};

type Named = Record<string, (...xs: unknown[]) => Tensor>;
const functions = sw as unknown as Named;
const method = (x: Tensor, name: string, ...rest: unknown[]): Tensor => (x as unknown as Named)[name](...rest);

/** Infinity in a sigmoid's denominator and the like: NaN in the dull formula, a limit in ours. */
const limits = (name: string, x: number): boolean => name === "silu" && x === -Infinity;

describe("one operand", () => {
  describe.each(Object.entries(unary))("%s", (name, f) => {
    property.prop([anyFloat], { numRuns: 40 })("it is its definition, as a function and as a method", async (x) => {
      const host = await hostOf(x);
      const expected = build(host.shape, (index) => {
        const value = atBroadcast(host, index);
        return limits(name, value) ? NaN : f(value);
      });
      await expectClose(functions[name](x), expected, 1e-14);
      await expectClose(method(x, name), expected, 1e-14);
    });
  });

  test("isNaN and isFinite classify", async () => {
    const x = tensor([NaN, Infinity, -Infinity, 0]);
    expect(await x.isNaN().toArray()).toEqual([true, false, false, false]);
    expect(await x.isFinite().toArray()).toEqual([false, false, false, true]);
  });

  test("erf, normalCdf and gelu hit tabulated values", async () => {
    const x = tensor([-1, 0, 0.5, 2], { dtype: "f64" });
    const erf = [-0.8427007929497149, 0, 0.5204998778130465, 0.9953222650189527];
    const cdf = [0.15865525393145705, 0.5, 0.6914624612740131, 0.9772498680518208];
    await expectClose(x.erf(), { shape: [4], data: erf }, 1e-15);
    await expectClose(x.normalCdf(), { shape: [4], data: cdf }, 1e-15);
    await expectClose(x.gelu(), { shape: [4], data: [-cdf[0], 0, cdf[2] / 2, 2 * cdf[3]] }, 1e-15);
  });

  test("softplus and sigmoid do not overflow", async () => {
    expect(await tensor([1e4, -1e4]).softplus().toArray()).toEqual([1e4, 0]);
    expect(await tensor([1e4, -1e4]).sigmoid().toArray()).toEqual([1, 0]);
  });
});

const pairs = broadcastableShapes({ maxDims: 3, maxExtent: 3 }).chain(({ shapes: [a, b], result }) =>
  fc.tuple(
    fc.constant(result),
    tensorOf({ shape: fc.constant(a), dtype: "f64", ...anything }),
    tensorOf({ shape: fc.constant(b), dtype: "f64", ...anything }),
  ),
);

describe("two operands", () => {
  describe.each(Object.entries(binary))("%s", (name, f) => {
    property.prop([pairs], { numRuns: 40 })("it broadcasts its definition", async ([result, x, y]) => {
      const [a, b] = await Promise.all([hostOf(x), hostOf(y)]);
      const expected = build(result, (index) => f(atBroadcast(a, index), atBroadcast(b, index)));
      await expectClose(functions[name](x, y), expected, 1e-14);
      await expectClose(method(x, name, y), expected, 1e-14);
    });

    property.prop([anyFloat, fc.constantFrom(-1.5, 0, 2.25)], { numRuns: 20 })(
      "a number on either side takes the tensor's dtype",
      async (x, number) => {
        const host = await hostOf(x);
        const right = build(host.shape, (index) => f(atBroadcast(host, index), number));
        const left = build(host.shape, (index) => f(number, atBroadcast(host, index)));
        await expectClose(functions[name](x, number), right, 1e-13);
        await expectClose(functions[name](number, x), left, 1e-13);
      },
    );
  });

  property.prop([tensorOf({ shape: [5], dtype: "f64", min: 0.5, max: 2 }), fc.integer({ min: -20, max: 20 })])(
    "a small integer exponent is a product, and agrees with pow",
    async (x, exponent) => {
      const host = await hostOf(x);
      await expectClose(
        x.pow(exponent),
        build([5], (index) => atBroadcast(host, index) ** exponent),
        1e-12,
      );
    },
  );

  test("an integer to a power is a product, however large the exponent", async () => {
    const x = tensor(Int32Array.of(-1, 2, 3));
    expect(await x.pow(17).toArray()).toEqual([-1, 2 ** 17, 3 ** 17]);
    expect(await x.pow(32).toArray()).toEqual([1, 0, Number(BigInt.asIntN(32, 3n ** 32n))]);
  });

  test("integers wrap, and bits work on integers and bools", async () => {
    const x = tensor(Int32Array.of(0x7fffffff, -5));
    expect(await x.add(1).toArray()).toEqual([-0x80000000, -4]);
    expect(await x.mul(x).toArray()).toEqual([1, 25]);
    expect(await x.mod(3).toArray()).toEqual([1, 1]);
    const u = tensor(Uint32Array.of(0xf0f0f0f0, 1));
    expect(await u.xor(0xffffffff).toArray()).toEqual([0x0f0f0f0f, 0xfffffffe]);
    expect(await sw.shiftLeft(u, 4).toArray()).toEqual([0x0f0f0f00, 16]);
    expect(await sw.shiftRight(u, 28).toArray()).toEqual([15, 0]);
    const b = tensor([true, false]);
    expect(await b.and(tensor([true, true])).toArray()).toEqual([true, false]);
    expect(await b.or(tensor([false, false])).toArray()).toEqual([true, false]);
    expect(await b.not().toArray()).toEqual([false, true]);
  });

  test("clip and where", async () => {
    expect(await tensor([-3, 0.5, 9]).clip(-1, 1).toArray()).toEqual([-1, 0.5, 1]);
    const condition = tensor([[true], [false]]);
    const picked = [
      [1, 2],
      [0, 0],
    ];
    expect(await sw.where(condition, tensor([1, 2]), 0).toArray()).toEqual(picked);
    expect(await tensor([1, 2]).where(condition, 0).toArray()).toEqual(picked);
    expect(await sw.where(tensor([true, false]), 1, 2).toArray()).toEqual([1, 2]);
  });

  test("cast truncates, saturates, and takes NaN to 0 and anything but 0 to true", async () => {
    const x = tensor([1.9, -1.9, 1e20, -1e20, NaN]);
    expect(await x.cast("i32").toArray()).toEqual([1, -1, 0x7fffffff, -0x80000000, 0]);
    expect(await x.cast("u32").toArray()).toEqual([1, 0, 0xffffffff, 0, 0]);
    expect(await tensor([0, -0, 0.5, NaN]).cast("bool").toArray()).toEqual([false, false, true, true]);
    expect(await tensor([true, false]).cast("f32").toArray()).toEqual([1, 0]);
    expect(zeros([2]).cast("f64").dtype).toBe("f64");
  });
});
