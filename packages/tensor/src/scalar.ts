import { DTypeError } from "./errors.ts";
import { erf, normalCdf, sigmoid, softplus } from "./special.ts";
import { roundToHalf } from "./half.ts";
import { describe } from "./shape.ts";
import { checkDType, isFloat, isInteger, type DType, type Shape } from "./types.ts";

/**
 * What a scalar op accepts and returns.
 * `float`: floats, same out. `numeric`: floats and integers, same out. `ordered`: numeric or bool, same out.
 * `compare`: two of one dtype, bool out. `classify`: a float, bool out. `bits`: integers and bool, same out. `integer`: integers,
 * same out.
 * `select`: bool and two of one dtype, that dtype out. `cast`: anything, the dtype in the attributes out.
 */
export type DTypeRule =
  | "float"
  | "numeric"
  | "ordered"
  | "compare"
  | "classify"
  | "bits"
  | "integer"
  | "select"
  | "cast";

export interface ScalarRow {
  readonly arity: 1 | 2 | 3;
  readonly rule: DTypeRule;
  /** The definition, in f64. What it returns is rounded to the result's dtype on store. */
  readonly js: (a: number, b: number, c: number) => number;
  /** The definition for i32, u32 and bool where f64 arithmetic is not exact; the store wraps. */
  readonly int?: (a: number, b: number) => number;
}

/** Rounds half to even. */
function roundEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  if (rest !== 0.5) return x < 0 && rest > 0.5 && floor === -1 ? -0 : rest < 0.5 ? floor : floor + 1;
  return floor % 2 === 0 ? floor : x < 0 && floor === -1 ? -0 : floor + 1;
}

/** The remainder with the divisor's sign. */
function mod(a: number, b: number): number {
  const r = a % b;
  return r !== 0 && r < 0 !== b < 0 ? r + b : r;
}

const bit = (condition: boolean): number => (condition ? 1 : 0);

/**
 * The elementwise functions: one row each. A row here, a gradient in autograd's table and a line in each backend's
 * table make a new one; every one of those tables is a mapped type over these names, so the compiler lists what is missing.
 */
export const scalarOps = {
  neg: { arity: 1, rule: "numeric", js: (a) => -a },
  abs: { arity: 1, rule: "numeric", js: (a) => Math.abs(a) },
  sign: { arity: 1, rule: "numeric", js: (a) => Math.sign(a) },
  floor: { arity: 1, rule: "float", js: (a) => Math.floor(a) },
  ceil: { arity: 1, rule: "float", js: (a) => Math.ceil(a) },
  round: { arity: 1, rule: "float", js: roundEven },
  exp: { arity: 1, rule: "float", js: (a) => Math.exp(a) },
  expm1: { arity: 1, rule: "float", js: (a) => Math.expm1(a) },
  log: { arity: 1, rule: "float", js: (a) => Math.log(a) },
  log1p: { arity: 1, rule: "float", js: (a) => Math.log1p(a) },
  sqrt: { arity: 1, rule: "float", js: (a) => Math.sqrt(a) },
  rsqrt: { arity: 1, rule: "float", js: (a) => 1 / Math.sqrt(a) },
  sin: { arity: 1, rule: "float", js: (a) => Math.sin(a) },
  cos: { arity: 1, rule: "float", js: (a) => Math.cos(a) },
  tan: { arity: 1, rule: "float", js: (a) => Math.tan(a) },
  tanh: { arity: 1, rule: "float", js: (a) => Math.tanh(a) },
  sigmoid: { arity: 1, rule: "float", js: (a) => sigmoid(a) },
  softplus: { arity: 1, rule: "float", js: (a) => softplus(a) },
  relu: { arity: 1, rule: "numeric", js: (a) => (a > 0 || Number.isNaN(a) ? a : 0) },
  erf: { arity: 1, rule: "float", js: (a) => erf(a) },
  normalCdf: { arity: 1, rule: "float", js: (a) => normalCdf(a) },
  isNaN: { arity: 1, rule: "classify", js: (a) => bit(Number.isNaN(a)) },
  isFinite: { arity: 1, rule: "classify", js: (a) => bit(Number.isFinite(a)) },
  not: { arity: 1, rule: "bits", js: (a) => ~a, int: (a) => ~a },
  cast: { arity: 1, rule: "cast", js: (a) => a },
  add: { arity: 2, rule: "numeric", js: (a, b) => a + b },
  sub: { arity: 2, rule: "numeric", js: (a, b) => a - b },
  mul: { arity: 2, rule: "numeric", js: (a, b) => a * b, int: Math.imul },
  div: { arity: 2, rule: "float", js: (a, b) => a / b },
  pow: { arity: 2, rule: "float", js: (a, b) => Math.pow(a, b) },
  mod: { arity: 2, rule: "numeric", js: mod, int: (a, b) => (b === 0 ? 0 : mod(a, b)) },
  minimum: { arity: 2, rule: "ordered", js: (a, b) => Math.min(a, b) },
  maximum: { arity: 2, rule: "ordered", js: (a, b) => Math.max(a, b) },
  eq: { arity: 2, rule: "compare", js: (a, b) => bit(a === b) },
  ne: { arity: 2, rule: "compare", js: (a, b) => bit(a !== b) },
  lt: { arity: 2, rule: "compare", js: (a, b) => bit(a < b) },
  le: { arity: 2, rule: "compare", js: (a, b) => bit(a <= b) },
  gt: { arity: 2, rule: "compare", js: (a, b) => bit(a > b) },
  ge: { arity: 2, rule: "compare", js: (a, b) => bit(a >= b) },
  and: { arity: 2, rule: "bits", js: (a, b) => a & b },
  or: { arity: 2, rule: "bits", js: (a, b) => a | b },
  xor: { arity: 2, rule: "bits", js: (a, b) => a ^ b },
  shiftLeft: { arity: 2, rule: "integer", js: (a, b) => (b >= 32 ? 0 : a << b) },
  shiftRight: { arity: 2, rule: "integer", js: (a, b) => (b >= 32 ? 0 : a >>> b) },
  where: { arity: 3, rule: "select", js: (a, b, c) => (a !== 0 ? b : c) },
} as const satisfies Record<string, ScalarRow>;

export type ScalarOp = keyof typeof scalarOps;

/** The row of an op, with the optional columns visible. */
export const scalarRow = (fn: ScalarOp): ScalarRow => scalarOps[fn];

interface Operand {
  readonly dtype: DType;
  readonly shape: Shape;
}

const accepts = {
  float: (d: DType) => isFloat(d),
  numeric: (d: DType) => d !== "bool",
  ordered: () => true,
  compare: () => true,
  classify: (d: DType) => isFloat(d),
  bits: (d: DType) => !isFloat(d),
  integer: (d: DType) => isInteger(d),
  select: () => true,
  cast: () => true,
} satisfies { [R in DTypeRule]: (d: DType) => boolean };

const wanted = {
  float: 'floating-point tensors; cast first, for example .cast("f32")',
  numeric: 'numbers; cast the bool first, for example .cast("f32")',
  ordered: "any dtype",
  compare: "any dtype",
  classify: "floating-point tensors",
  bits: "bool or integer tensors",
  integer: "integer tensors",
  select: "any dtype",
  cast: "any dtype",
} satisfies { [R in DTypeRule]: string };

/**
 * The dtype of a scalar op's result.
 * @throws {DTypeError} if the operands' dtypes differ or the op does not take them: tensors never promote among each other.
 */
export function scalarDType(fn: ScalarOp, operands: readonly Operand[], to?: DType): DType {
  const { rule } = scalarRow(fn);
  const values = rule === "select" ? operands.slice(1) : operands;
  if (rule === "select" && operands[0].dtype !== "bool") {
    throw new DTypeError(
      `${fn}: the condition must be bool, got ${describe(operands[0])}; compare it, for example .ne(0)`,
    );
  }
  const { dtype } = values[0];
  if (values.some((v) => v.dtype !== dtype)) {
    throw new DTypeError(`${fn}: dtypes differ (got ${values.map(describe).join(", ")}); cast one of them`);
  }
  if (!accepts[rule](dtype)) throw new DTypeError(`${fn}: takes ${wanted[rule]} (got ${describe(values[0])})`);
  if (rule === "compare" || rule === "classify") return "bool";
  return rule === "cast" ? checkDType("cast", to!) : dtype;
}

/** Conversion of a number to a dtype's range: integers saturate, NaN becomes 0, bool is "not zero". */
const convert = {
  f16: roundToHalf,
  f32: Math.fround,
  f64: (x: number) => x,
  i32: (x: number) => (Number.isNaN(x) ? 0 : Math.min(Math.max(Math.trunc(x), -0x80000000), 0x7fffffff)),
  u32: (x: number) => (Number.isNaN(x) ? 0 : Math.min(Math.max(Math.trunc(x), 0), 0xffffffff)),
  bool: (x: number) => bit(x !== 0),
} satisfies { [D in DType]: (x: number) => number };

/** The function that defines `fn` on values of `dtype` (the operands', not the result's). */
export function definitionOf(fn: ScalarOp, dtype: DType, to?: DType): (a: number, b: number, c: number) => number {
  const row = scalarRow(fn);
  if (fn === "cast") return convert[to!];
  if (fn === "not" && dtype === "bool") return (a) => bit(a === 0);
  return (!isFloat(dtype) && row.int) || row.js;
}
