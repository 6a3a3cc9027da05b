import { apply, checkNumber, fullLike } from "../apply.ts";
import { DTypeError } from "../errors.ts";
import { defaultFloat } from "../runtime/defaults.ts";
import type { ScalarOp } from "../scalar.ts";
import { broadcastShapes, sameShape } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { isFloat, type DType } from "../types.ts";
import { broadcastTo } from "./views.ts";

/** A tensor, or a number that takes the dtype of the tensor it meets. */
export type Operand = Tensor | number;

type Unary = <D extends DType>(x: Tensor<D>) => Tensor<D>;
type Test = (x: Tensor) => Tensor<"bool">;
type Compare = (a: Operand, b: Operand) => Tensor<"bool">;

const unary = (fn: ScalarOp) => (x: Tensor) => apply("map", [x], { fn }) as never;

/** Brings operands to one shape and makes tensors of numbers. */
function align(op: string, operands: readonly Operand[], like: Tensor): Tensor[] {
  let shape = like.shape;
  for (const x of operands) if (typeof x !== "number") shape = broadcastShapes(op, shape, x.shape);
  return operands.map((x) => {
    if (typeof x === "number") return fullLike(like, checkNumber(op, x, like.dtype), shape, like.dtype);
    return sameShape(x.shape, shape) ? x : broadcastTo(x, shape);
  });
}

/** The tensor among operands that decides dtype and device. */
function tensorAmong(op: string, operands: readonly Operand[]): Tensor {
  const found = operands.find((x) => typeof x === "object" && x !== null && "expectTensor" in x) as Tensor | undefined;
  if (!found)
    throw new DTypeError(
      `${op}: takes at least one tensor, got (${operands.map(String).join(", ")}); use Math for numbers`,
    );
  return found.expectTensor(op, operands);
}

const binary =
  (fn: ScalarOp) =>
  (a: Operand, b: Operand): Tensor => {
    const [x, y] = align(fn, [a, b], tensorAmong(fn, [a, b]));
    return apply("map", [x, y], { fn });
  };

export const neg: Unary = /* @__PURE__ */ unary("neg");
export const abs: Unary = /* @__PURE__ */ unary("abs");
/** -1, 0 or 1; gradient 0. */
export const sign: Unary = /* @__PURE__ */ unary("sign");
export const floor: Unary = /* @__PURE__ */ unary("floor");
export const ceil: Unary = /* @__PURE__ */ unary("ceil");
/** To the nearest integer, half to even. */
export const round: Unary = /* @__PURE__ */ unary("round");
export const exp: Unary = /* @__PURE__ */ unary("exp");
/** `exp(x) - 1`, accurate near 0. */
export const expm1: Unary = /* @__PURE__ */ unary("expm1");
export const log: Unary = /* @__PURE__ */ unary("log");
/** `log(1 + x)`, accurate near 0. */
export const log1p: Unary = /* @__PURE__ */ unary("log1p");
export const sqrt: Unary = /* @__PURE__ */ unary("sqrt");
/** `1 / sqrt(x)`. */
export const rsqrt: Unary = /* @__PURE__ */ unary("rsqrt");
export const sin: Unary = /* @__PURE__ */ unary("sin");
export const cos: Unary = /* @__PURE__ */ unary("cos");
export const tan: Unary = /* @__PURE__ */ unary("tan");
export const tanh: Unary = /* @__PURE__ */ unary("tanh");
/** `1 / (1 + exp(-x))`. */
export const sigmoid: Unary = /* @__PURE__ */ unary("sigmoid");
/** `log(1 + exp(x))`, stable at both ends. */
export const softplus: Unary = /* @__PURE__ */ unary("softplus");
/** `max(x, 0)`; gradient 0 at 0. */
export const relu: Unary = /* @__PURE__ */ unary("relu");
export const erf: Unary = /* @__PURE__ */ unary("erf");
/** The distribution function of the standard normal, accurate in both tails. */
export const normalCdf: Unary = /* @__PURE__ */ unary("normalCdf");
/** Logical not of bool, bitwise not of integers. */
export const not: Unary = /* @__PURE__ */ unary("not");
export const isNaN: Test = /* @__PURE__ */ unary("isNaN");
export const isFinite: Test = /* @__PURE__ */ unary("isFinite");

export const add = /* @__PURE__ */ binary("add");
export const sub = /* @__PURE__ */ binary("sub");
export const mul = /* @__PURE__ */ binary("mul");
/** Of floating-point tensors. */
export const div = /* @__PURE__ */ binary("div");
/** The remainder, with the divisor's sign. */
export const mod = /* @__PURE__ */ binary("mod");
/** NaN wins; a tie splits the gradient in half. */
export const minimum = /* @__PURE__ */ binary("minimum");
/** NaN wins; a tie splits the gradient in half. */
export const maximum = /* @__PURE__ */ binary("maximum");
export const eq = /* @__PURE__ */ binary("eq") as Compare;
export const ne = /* @__PURE__ */ binary("ne") as Compare;
export const lt = /* @__PURE__ */ binary("lt") as Compare;
export const le = /* @__PURE__ */ binary("le") as Compare;
export const gt = /* @__PURE__ */ binary("gt") as Compare;
export const ge = /* @__PURE__ */ binary("ge") as Compare;
/** Logical and of bool, bitwise of integers; likewise `or`, `xor`. */
export const and = /* @__PURE__ */ binary("and");
export const or = /* @__PURE__ */ binary("or");
export const xor = /* @__PURE__ */ binary("xor");
export const shiftLeft = /* @__PURE__ */ binary("shiftLeft");
/** Logical shift: zeros come in. */
export const shiftRight = /* @__PURE__ */ binary("shiftRight");

export const square = <D extends DType>(x: Tensor<D>): Tensor<D> => mul(x, x) as Tensor<D>;
export const reciprocal = <D extends DType>(x: Tensor<D>): Tensor<D> => div(1, x) as Tensor<D>;
/** `x * sigmoid(x)`. */
export const silu = <D extends DType>(x: Tensor<D>): Tensor<D> => mul(x, sigmoid(x)) as Tensor<D>;
/** `x * normalCdf(x)`: the exact form, no tanh approximation. */
export const gelu = <D extends DType>(x: Tensor<D>): Tensor<D> => mul(x, normalCdf(x)) as Tensor<D>;

/** Integer exponents of floats up to this magnitude become products, exact where `pow` would go through a logarithm. */
const largestProduct = 16;

/** `x ** exponent`. An integer exponent is structural and becomes products, of floats if it is small; any other is data. */
export function pow(x: Operand, exponent: Operand): Tensor {
  if (
    typeof x === "number" ||
    typeof exponent !== "number" ||
    !Number.isInteger(exponent) ||
    (isFloat(x.dtype) && Math.abs(exponent) > largestProduct)
  ) {
    return power(x, exponent);
  }
  if (exponent < 0) return reciprocal(pow(x, -exponent));
  if (exponent === 0) return fullLike(x, 1, x.shape, x.dtype);
  const half = exponent === 1 ? x : pow(x, Math.floor(exponent / 2));
  if (exponent === 1) return x;
  return exponent % 2 === 0 ? mul(half, half) : mul(mul(half, half), x);
}
const power = /* @__PURE__ */ binary("pow");

/** `min(max(x, low), high)`. */
export const clip = (x: Tensor, low: Operand, high: Operand): Tensor => minimum(maximum(x, low), high);

/** Elements of `a` where `condition` holds, of `b` elsewhere. */
export function where(condition: Tensor, a: Operand, b: Operand): Tensor {
  if (!condition?.shape) throw new DTypeError(`where: the condition is a bool tensor, got ${String(condition)}`);
  const like = tensorAmong("where", typeof a === "number" && typeof b === "number" ? [condition] : [a, b]);
  const dtyped = like === condition ? fullLike(condition, 0, [], defaultFloat()) : like;
  const shape = broadcastShapes("where", condition.shape, dtyped.shape);
  const [x, y] = align("where", [a, b], dtyped);
  const full = broadcastShapes("where", shape, x.shape);
  const [c, p, q] = [condition, x, y].map((t) => (sameShape(t.shape, full) ? t : broadcastTo(t, full)));
  return apply("map", [c, p, q], { fn: "where" });
}

/** Converts the dtype. To integers: truncates and saturates, NaN becomes 0. To bool: not zero. */
export const cast = <D extends DType>(x: Tensor, dtype: D): Tensor<D> =>
  (x.dtype === dtype ? x : apply("map", [x], { fn: "cast", to: dtype })) as Tensor<D>;
