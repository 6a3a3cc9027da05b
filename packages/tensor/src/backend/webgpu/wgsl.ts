import type { ScalarOp } from "../../scalar.ts";
import type { DType } from "../../types.ts";

/** What a value of a dtype is computed as: f16 is a way to store numbers, and what is computed of them is rounded to it. */
export const heldAs = (dtype: DType): Exclude<DType, "f16"> => (dtype === "f16" ? "f32" : dtype);

/** WGSL's name of the type that holds a value. */
export const valueType = { f16: "f32", f32: "f32", f64: "f64", i32: "i32", u32: "u32", bool: "bool" } satisfies {
  [D in DType]: string;
};

/** The type of an element in a buffer: WGSL forbids bool in storage, so it is 0 or 1 in a u32. */
export const elementType = { ...valueType, f16: "f16", bool: "u32" } satisfies { [D in DType]: string };

/** An element as a value, and a value as an element. */
export const fromElement = (dtype: DType, element: string): string =>
  dtype === "bool" ? `(${element} != 0u)` : dtype === "f16" ? `f32(${element})` : element;
export const toElement = (dtype: DType, value: string): string =>
  dtype === "bool" ? `select(0u, 1u, ${value})` : dtype === "f16" ? `f16(${value})` : value;

/** The same of four numbers at once. */
export const fromElements = (dtype: DType, elements: string): string =>
  dtype === "f16" ? `vec4<f32>(${elements})` : elements;
/** Of numbers that are not rounded to the dtype yet. */
export const toElements = (dtype: DType, values: string): string =>
  dtype === "f16" ? `vec4<f16>(bounded_f16(${values}))` : values;

/** A number computed in 32 bits as a value of its dtype. */
export const rounded = (dtype: DType, value: string): string => (dtype === "f16" ? `round_f16(${value})` : value);

export const zeroOf = { f16: "0.0", f32: "0.0", f64: "0.0", i32: "0", u32: "0u", bool: "false" } satisfies {
  [D in DType]: string;
};

/** `d` is what holds the operands (of the values, for `where`), `to` the result. */
type Emit = (d: DType, to: DType, a: string, b: string, c: string) => string;

const call =
  (name: string): Emit =>
  (_, __, a) =>
    `${name}(${a})`;
const infix =
  (operator: string): Emit =>
  (_, __, a, b) =>
    `(${a} ${operator} ${b})`;
/** Comparisons of floats are false where an operand is NaN, by its bits. */
const compare =
  (operator: string): Emit =>
  (d, _, a, b) => {
    if (d === "f32") return `((${a} ${operator} ${b}) & ordered(${a}, ${b}))`;
    return d === "bool" ? `(u32(${a}) ${operator} u32(${b}))` : `(${a} ${operator} ${b})`;
  };
const extreme =
  (name: "min" | "max", bool: string): Emit =>
  (d, _, a, b) =>
    d === "f32" ? `${name}_f32(${a}, ${b})` : d === "bool" ? `(${a} ${bool} ${b})` : `${name}(${a}, ${b})`;
const bitwise =
  (operator: string, bool: string): Emit =>
  (d, _, a, b) =>
    `(${a} ${d === "bool" ? bool : operator} ${b})`;
/** Shifts act on the bits, and by 32 or more give 0. */
const shift =
  (name: string): Emit =>
  (d, _, a, b) => {
    if (d === "bool") return `(${name}(u32(${a}), u32(${b}), false) != 0u)`;
    return d === "u32"
      ? `${name}(${a}, ${b}, ${b} >= 32u)`
      : `bitcast<i32>(${name}(bitcast<u32>(${a}), bitcast<u32>(${b}), ${b} >= 32))`;
  };

/** Conversions by value: integers saturate, NaN becomes 0, bool is "not zero". */
function cast(d: DType, to: DType, a: string): string {
  if (d === to) return a;
  if (to === "bool") return d === "f32" ? `((bitcast<u32>(${a}) & 0x7fffffffu) != 0u)` : `(${a} != ${zeroOf[d]})`;
  if (d === "f32") return to === "i32" ? `to_i32(${a})` : `to_u32(${a})`;
  if (d === "i32" && to === "u32") return `u32(max(${a}, 0))`;
  if (d === "u32" && to === "i32") return `i32(min(${a}, 0x7fffffffu))`;
  return `${valueType[to]}(${a})`;
}

/**
 * The elementwise functions in WGSL: one row each, an expression of operands that are names. They follow the definitions in f64
 * to within rounding, NaN and infinities included, with these exceptions:
 *
 * - numbers below 2^-126, as operands or results, may be flushed to 0;
 * - `sin`, `cos` and `tan` lose digits next to their zeros and poles for |x| in 20..200;
 * - `div`, `sqrt` and `rsqrt` are WGSL's own: within 2.5 units in the last place;
 * - the sign of a zero is not kept by `mod`, `minimum`, `maximum` and `round`, and the payload of a NaN by nothing.
 */
const wgsl = {
  neg: (d, _, a) => (d === "u32" ? `(0u - ${a})` : `(-${a})`),
  abs: (d, _, a) => (d === "u32" ? a : `abs(${a})`),
  sign: (d, _, a) => (d === "f32" ? `sign_f32(${a})` : d === "u32" ? `min(${a}, 1u)` : `sign(${a})`),
  floor: call("floor"),
  ceil: call("ceil"),
  round: call("round"),
  exp: call("exp_f32"),
  expm1: call("expm1_f32"),
  log: call("log_f32"),
  log1p: call("log1p_f32"),
  sqrt: call("sqrt_f32"),
  rsqrt: call("rsqrt_f32"),
  sin: call("sin_f32"),
  cos: call("cos_f32"),
  tan: call("tan_f32"),
  tanh: call("tanh_f32"),
  sigmoid: call("sigmoid_f32"),
  softplus: call("softplus_f32"),
  relu: (d, _, a) => (d === "f32" ? `relu_f32(${a})` : d === "u32" ? a : `max(${a}, 0)`),
  erf: call("erf_f32"),
  normalCdf: call("normal_cdf"),
  isNaN: call("is_nan"),
  isFinite: call("is_finite"),
  not: (d, _, a) => (d === "bool" ? `(!${a})` : `(~${a})`),
  cast,
  add: infix("+"),
  sub: infix("-"),
  mul: infix("*"),
  div: infix("/"),
  pow: (_, __, a, b) => `pow_f32(${a}, ${b})`,
  mod: (d, _, a, b) => `mod_${d}(${a}, ${b})`,
  minimum: extreme("min", "&"),
  maximum: extreme("max", "|"),
  eq: compare("=="),
  ne: (d, to, a, b) => `!${compare("==")(d, to, a, b, "")}`,
  lt: compare("<"),
  le: compare("<="),
  gt: compare(">"),
  ge: compare(">="),
  and: bitwise("&", "&"),
  or: bitwise("|", "|"),
  xor: bitwise("^", "!="),
  shiftLeft: shift("shift_left"),
  shiftRight: shift("shift_right"),
  where: (d, _, a, b, c) => (d === "f32" ? `select_f32(${a}, ${b}, ${c})` : `select(${c}, ${b}, ${a})`),
} satisfies { [F in ScalarOp]: Emit };

/** Results that are as exact as the operands: nothing to round. */
const exact: ReadonlySet<ScalarOp> = new Set<ScalarOp>([
  "neg",
  "abs",
  "sign",
  "floor",
  "ceil",
  "round",
  "relu",
  "minimum",
  "maximum",
  "where",
]);

/** An expression for `fn` applied to operands that are names. */
export function scalarExpression(fn: ScalarOp, d: DType, to: DType, args: readonly string[]): string {
  const value = (wgsl[fn] as Emit)(heldAs(d), heldAs(to), args[0], args[1], args[2]);
  return exact.has(fn) ? value : rounded(to, value);
}

/** An element as a u32 whose order is that of the elements. */
export const orderKey = (dtype: DType, element: string, descending: boolean): string =>
  `order_${heldAs(dtype)}(${fromElement(dtype, element)}, ${descending})`;
