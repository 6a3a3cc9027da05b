import { where, type Tensor } from "@switchyard/tensor";
import { isFloat, type Node, type ScalarOp } from "@switchyard/tensor/graph";
import { constant, type Cotangent, type VjpRule } from "./rule.ts";

/** The gradient of a scalar op. `y` is its result. */
type ScalarVjp = (ct: Tensor, xs: readonly Tensor[], y: Tensor) => readonly Cotangent[];

const zeroAs = (condition: Tensor, x: Tensor): Tensor => where(condition, 0, x);

/** `ct` to the larger of two, half of it to each at a tie. */
const toLarger = (ct: Tensor, a: Tensor, b: Tensor): Tensor => where(a.eq(b), ct.mul(0.5), where(a.gt(b), ct, 0));

/** `d(a ** b) / da = b a ** (b - 1)`; 0 for `0 ** 0`, where the formula is `0 · ∞`. */
function powBase(ct: Tensor, a: Tensor, b: Tensor): Tensor {
  const corner = a.eq(0).and(b.eq(0));
  return ct.mul(zeroAs(corner, b.mul(a.pow(where(corner, 1, b.sub(1))))));
}

/**
 * `d(a ** b) / db = a ** b log(a)`, taken as 0 at `a = 0`. At a negative base it is NaN, as it must be: off the integers
 * the power is not real. An exponent that is a constant never asks.
 */
function powExponent(ct: Tensor, a: Tensor, y: Tensor): Tensor {
  const zero = a.eq(0);
  return ct.mul(zeroAs(zero, y.mul(where(zero, 1, a).log())));
}

/**
 * The gradients of the elementwise functions. Corners: abs and relu have gradient 0 at 0; minimum and maximum split a tie in
 * half; steps (sign, floor, ceil, round) have gradient 0; sqrt has an infinite one at 0, as IEEE division gives it.
 */
const scalarVjp = {
  neg: (ct) => [ct.neg()],
  abs: (ct, [x]) => [ct.mul(x.sign())],
  sign: constant,
  floor: constant,
  ceil: constant,
  round: constant,
  exp: (ct, _, y) => [ct.mul(y)],
  expm1: (ct, [x]) => [ct.mul(x.exp())],
  log: (ct, [x]) => [ct.div(x)],
  log1p: (ct, [x]) => [ct.div(x.add(1))],
  sqrt: (ct, _, y) => [ct.div(y.mul(2))],
  rsqrt: (ct, [x], y) => [ct.mul(y.div(x)).mul(-0.5)],
  sin: (ct, [x]) => [ct.mul(x.cos())],
  cos: (ct, [x]) => [ct.mul(x.sin()).neg()],
  tan: (ct, _, y) => [ct.mul(y.square().add(1))],
  tanh: (ct, _, y) => [ct.mul(y.square().neg().add(1))],
  sigmoid: (ct, _, y) => [ct.mul(y.mul(y.neg().add(1)))],
  softplus: (ct, [x]) => [ct.mul(x.sigmoid())],
  relu: (ct, [x]) => [where(x.gt(0), ct, 0)],
  erf: (ct, [x]) => [ct.mul(x.square().neg().exp()).mul(2 / Math.sqrt(Math.PI))],
  normalCdf: (ct, [x]) => [ct.mul(x.square().mul(-0.5).exp()).mul(1 / Math.sqrt(2 * Math.PI))],
  isNaN: constant,
  isFinite: constant,
  not: constant,
  cast: (ct, [x]) => [isFloat(x.dtype) ? ct.cast(x.dtype) : null],
  add: (ct) => [ct, ct],
  sub: (ct) => [ct, () => ct.neg()],
  mul: (ct, [a, b]) => [() => ct.mul(b), () => ct.mul(a)],
  div: (ct, [, b], y) => [() => ct.div(b), () => ct.mul(y).div(b).neg()],
  pow: (ct, [a, b], y) => [() => powBase(ct, a, b), () => powExponent(ct, a, y)],
  // a mod b = a - b floor(a / b), and the whole number floor(a / b) is (a - y) / b.
  mod: (ct, [a, b], y) => [ct, () => ct.mul(y.sub(a).div(b).round())],
  minimum: (ct, [a, b]) => [() => toLarger(ct, b, a), () => toLarger(ct, a, b)],
  maximum: (ct, [a, b]) => [() => toLarger(ct, a, b), () => toLarger(ct, b, a)],
  eq: constant,
  ne: constant,
  lt: constant,
  le: constant,
  gt: constant,
  ge: constant,
  and: constant,
  or: constant,
  xor: constant,
  shiftLeft: constant,
  shiftRight: constant,
  where: (ct, [condition]) => [null, () => where(condition, ct, 0), () => where(condition, 0, ct)],
} satisfies { [F in ScalarOp]: ScalarVjp };

/** The gradient of `map`: its scalar op's. */
export const map: VjpRule<"map"> = (ct, { attrs }: Node<"map">, inputs, output) =>
  (scalarVjp[attrs.fn] as ScalarVjp)(ct, inputs, output);
