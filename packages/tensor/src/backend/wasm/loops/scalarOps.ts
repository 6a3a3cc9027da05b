/**
 * The scalar ops in lanes. A value is one v128: four lanes of f32, i32 or u32, or two of f64; beside f64 a 32-bit value uses its
 * two low lanes. A bool is a mask, all ones or all zeros in each 32-bit lane; it becomes 0 or 1 when stored.
 */
import type { scalarOps, DTypeRule, ScalarOp } from "../../../scalar.ts";
import type { DType, FloatDType } from "../../../types.ts";
import { wasmDType, type WasmDType } from "../dtypes.ts";
import {
  call,
  f32x4,
  f64x2,
  i32,
  i32x4,
  i64x2,
  v128,
  type Callable,
  type Func,
  type I32,
  type Local,
  type V128,
} from "../assembler.ts";
import * as math from "../math.ts";
import type { MathImport } from "../math.ts";

type Vector = Local<"v128">;

/** What an op may need beside its operands. */
export interface LaneContext {
  readonly f: Func;
  /** The dtype of the result. */
  readonly to: DType;
  /** Lanes that carry elements: 4, or 2 in kernels with f64. */
  readonly width: 2 | 4;
  /** Whether all lanes of the last operand are the same number. */
  readonly uniform: boolean;
  readonly import: (name: MathImport) => Callable<"f64">;
}

export type Lane = (c: LaneContext, a: Vector, b: Vector, d: Vector) => V128;

type WasmFloat = Extract<WasmDType, FloatDType>;

/** The dtypes a rule lets through. */
interface Accepted extends Record<DTypeRule, WasmDType> {
  float: WasmFloat;
  numeric: Exclude<WasmDType, "bool">;
  classify: WasmFloat;
  bits: "i32" | "u32" | "bool";
  integer: "i32" | "u32";
}

const SIGN32 = -0x80000000;
const SIGN64 = -(2 ** 63);
const not = (x: V128): V128 => v128.not(x);
/** A mask of 64-bit lanes as one of 32-bit lanes, and back. */
const narrow = (c: LaneContext, x: V128): V128 => shuffled(c, x, [0, 2, 0, 2]);
const widen = (c: LaneContext, x: V128): V128 => shuffled(c, x, [0, 0, 1, 1]);

function shuffled({ f }: LaneContext, x: V128, lanes: readonly number[]): V128 {
  const home = f.let(x);
  return v128.shuffle32(home, home, lanes);
}

/** Calls an imported function on each f64 lane. */
const imported =
  (name: MathImport): Lane =>
  (c, a, b) => {
    const callee = c.import(name);
    const binary = name === "pow" || name === "mod";
    const lane = (i: number) =>
      binary ? call(callee, f64x2.extract(a, i), f64x2.extract(b, i)) : call(callee, f64x2.extract(a, i));
    return f64x2.replace(f64x2.splat(lane(0)), 1, lane(1));
  };

/** Computes each integer lane by itself. */
function perLane(c: LaneContext, compute: (lane: number) => I32): V128 {
  let out = i32x4.splat(compute(0));
  for (let lane = 1; lane < c.width; lane++) out = i32x4.replace(out, lane, compute(lane));
  return out;
}

/** A remainder whose zero has the dividend's sign, as JavaScript's `%` gives it. */
const zeroLike = (c: LaneContext, rest: V128, isZero: (x: Vector) => V128, signOfA: V128): V128 => {
  const home = c.f.let(rest);
  return v128.bitselect(signOfA, home, isZero(home));
};

const modF32: Lane = (c, a, b) =>
  zeroLike(c, math.mod(c.f, a, b, c.import("mod")), (x) => f32x4.eq(x, 0), v128.and(a, SIGN32));
const modF64: Lane = (c, a, b) =>
  zeroLike(c, imported("mod")(c, a, b, b), (x) => f64x2.eq(x, 0), v128.and(a, i64x2.const(SIGN64)));

/** The divisor's lanes where it is 0 replaced by 1, by which every remainder is 0. */
const safeDivisor = (b: Vector): V128 => i32x4.sub(b, i32x4.eq(b, 0));

const modI32: Lane = (c, a, b) => {
  const divisor = c.f.let(safeDivisor(b));
  const rest = c.f.let(perLane(c, (lane) => i32.rem_s(i32x4.extract(a, lane), i32x4.extract(divisor, lane))));
  const wrongSign = v128.andnot(i32x4.shr_s(v128.xor(rest, divisor), 31), i32x4.eq(rest, 0));
  return i32x4.add(rest, v128.and(divisor, wrongSign));
};
const modU32: Lane = (c, a, b) => {
  const divisor = c.f.let(safeDivisor(b));
  return perLane(c, (lane) => i32.rem_u(i32x4.extract(a, lane), i32x4.extract(divisor, lane)));
};

/** SIMD shifts all lanes by one count; counts of their own take a scalar shift per lane. 32 or more gives 0. */
function shift(by: "shl" | "shr_u", tooFar: (count: Vector) => V128): Lane {
  return (c, a, b) => {
    const shifted = c.uniform
      ? i32x4[by](a, i32x4.extract(b, 0))
      : perLane(c, (lane) => i32[by](i32x4.extract(a, lane), i32x4.extract(b, lane)));
    return v128.andnot(shifted, tooFar(b));
  };
}
const tooFarI32 = (count: Vector): V128 => i32x4.ge_s(count, 32);
const tooFarU32 = (count: Vector): V128 => i32x4.ge_u(count, 32);

type Compare = "eq" | "ne" | "lt" | "le" | "gt" | "ge";

/** A comparison for every dtype; `mask` gives it for bools. */
function compare(by: Compare, mask: (a: V128, b: V128) => V128) {
  const signed = by === "eq" || by === "ne" ? i32x4[by] : i32x4[`${by}_s`];
  const unsigned = by === "eq" || by === "ne" ? i32x4[by] : i32x4[`${by}_u`];
  return {
    f32: (_c, a, b) => f32x4[by](a, b),
    f64: (c, a, b) => narrow(c, f64x2[by](a, b)),
    i32: (_c, a, b) => signed(a, b),
    u32: (_c, a, b) => unsigned(a, b),
    bool: (_c, a, b) => mask(a, b),
  } satisfies { [D in WasmDType]: Lane };
}

/** One bitwise operation is the same for integers and masks. */
const bitwise = (lane: Lane) => ({ i32: lane, u32: lane, bool: lane });

/** A float function with an f32 version in lanes and an f64 version imported. */
function elementary(name: Exclude<MathImport, "sin" | "cos" | "tan" | "mod" | "pow">) {
  return { f32: ((c, a) => math[name](c.f, a)) as Lane, f64: imported(name) };
}
function trigonometric(name: "sin" | "cos" | "tan") {
  return { f32: ((c, a) => math[name](c.f, a, c.import(name))) as Lane, f64: imported(name) };
}

const same: Lane = (_c, a) => a;
const nonZero: Lane = (_c, a) => i32x4.ne(a, 0);
const select32: Lane = (_c, a, b, d) => v128.bitselect(b, d, a);

const casts = {
  f32: {
    f32: same,
    f64: (_c, a) => f64x2.promote_low_f32x4(a),
    i32: (_c, a) => i32x4.trunc_sat_f32x4_s(a),
    u32: (_c, a) => i32x4.trunc_sat_f32x4_u(a),
    bool: (_c, a) => f32x4.ne(a, 0),
  },
  f64: {
    f32: (_c, a) => f32x4.demote_f64x2_zero(a),
    f64: same,
    i32: (_c, a) => i32x4.trunc_sat_f64x2_s_zero(a),
    u32: (_c, a) => i32x4.trunc_sat_f64x2_u_zero(a),
    bool: (c, a) => narrow(c, f64x2.ne(a, 0)),
  },
  i32: {
    f32: (_c, a) => f32x4.convert_i32x4_s(a),
    f64: (_c, a) => f64x2.convert_low_i32x4_s(a),
    i32: same,
    u32: (_c, a) => i32x4.max_s(a, 0),
    bool: nonZero,
  },
  u32: {
    f32: (_c, a) => f32x4.convert_i32x4_u(a),
    f64: (_c, a) => f64x2.convert_low_i32x4_u(a),
    i32: (_c, a) => i32x4.min_u(a, 0x7fffffff),
    u32: same,
    bool: nonZero,
  },
  bool: {
    f32: (_c, a) => v128.and(a, f32x4.const(1)),
    f64: (c, a) => v128.and(widen(c, a), f64x2.const(1)),
    i32: (_c, a) => v128.and(a, 1),
    u32: (_c, a) => v128.and(a, 1),
    bool: same,
  },
} satisfies { [From in WasmDType]: { [To in WasmDType]: Lane } };

const castFrom =
  (from: WasmDType): Lane =>
  (c, a, b, d) =>
    (casts[from] as { [To in WasmDType]: Lane })[wasmDType(c.to)](c, a, b, d);

/** By op and the dtype of its operands (of the values, for `where`). */
const table = {
  neg: {
    f32: (_c, a) => f32x4.neg(a),
    f64: (_c, a) => f64x2.neg(a),
    i32: (_c, a) => i32x4.neg(a),
    u32: (_c, a) => i32x4.neg(a),
  },
  abs: {
    f32: (_c, a) => f32x4.abs(a),
    f64: (_c, a) => f64x2.abs(a),
    i32: (_c, a) => i32x4.abs(a),
    u32: same,
  },
  sign: {
    f32: (_c, a) => v128.bitselect(v128.or(v128.and(a, SIGN32), f32x4.const(1)), a, f32x4.gt(f32x4.abs(a), 0)),
    f64: (_c, a) =>
      v128.bitselect(v128.or(v128.and(a, i64x2.const(SIGN64)), f64x2.const(1)), a, f64x2.gt(f64x2.abs(a), 0)),
    i32: (_c, a) => v128.or(i32x4.shr_s(a, 31), i32x4.shr_u(i32x4.neg(a), 31)),
    u32: (_c, a) => i32x4.min_u(a, 1),
  },
  floor: { f32: (_c, a) => f32x4.floor(a), f64: (_c, a) => f64x2.floor(a) },
  ceil: { f32: (_c, a) => f32x4.ceil(a), f64: (_c, a) => f64x2.ceil(a) },
  round: { f32: (_c, a) => f32x4.nearest(a), f64: (_c, a) => f64x2.nearest(a) },
  exp: elementary("exp"),
  expm1: elementary("expm1"),
  log: elementary("log"),
  log1p: elementary("log1p"),
  sqrt: { f32: (_c, a) => f32x4.sqrt(a), f64: (_c, a) => f64x2.sqrt(a) },
  rsqrt: { f32: (c, a) => math.rsqrt(c.f, a), f64: (_c, a) => f64x2.div(1, f64x2.sqrt(a)) },
  sin: trigonometric("sin"),
  cos: trigonometric("cos"),
  tan: trigonometric("tan"),
  tanh: elementary("tanh"),
  sigmoid: elementary("sigmoid"),
  softplus: elementary("softplus"),
  relu: {
    f32: (_c, a) => v128.andnot(a, f32x4.le(a, 0)),
    f64: (_c, a) => v128.andnot(a, f64x2.le(a, 0)),
    i32: (_c, a) => i32x4.max_s(a, 0),
    u32: same,
  },
  erf: elementary("erf"),
  normalCdf: elementary("normalCdf"),
  isNaN: { f32: (_c, a) => f32x4.ne(a, a), f64: (c, a) => narrow(c, f64x2.ne(a, a)) },
  isFinite: {
    f32: (_c, a) => f32x4.lt(f32x4.abs(a), Infinity),
    f64: (c, a) => narrow(c, f64x2.lt(f64x2.abs(a), Infinity)),
  },
  not: bitwise((_c, a) => not(a)),
  cast: {
    f32: castFrom("f32"),
    f64: castFrom("f64"),
    i32: castFrom("i32"),
    u32: castFrom("u32"),
    bool: castFrom("bool"),
  },
  add: {
    f32: (_c, a, b) => f32x4.add(a, b),
    f64: (_c, a, b) => f64x2.add(a, b),
    i32: (_c, a, b) => i32x4.add(a, b),
    u32: (_c, a, b) => i32x4.add(a, b),
  },
  sub: {
    f32: (_c, a, b) => f32x4.sub(a, b),
    f64: (_c, a, b) => f64x2.sub(a, b),
    i32: (_c, a, b) => i32x4.sub(a, b),
    u32: (_c, a, b) => i32x4.sub(a, b),
  },
  mul: {
    f32: (_c, a, b) => f32x4.mul(a, b),
    f64: (_c, a, b) => f64x2.mul(a, b),
    i32: (_c, a, b) => i32x4.mul(a, b),
    u32: (_c, a, b) => i32x4.mul(a, b),
  },
  div: { f32: (_c, a, b) => f32x4.div(a, b), f64: (_c, a, b) => f64x2.div(a, b) },
  pow: { f32: (c, a, b) => math.pow(c.f, a, b), f64: imported("pow") },
  mod: { f32: modF32, f64: modF64, i32: modI32, u32: modU32 },
  minimum: {
    f32: (_c, a, b) => f32x4.min(a, b),
    f64: (_c, a, b) => f64x2.min(a, b),
    i32: (_c, a, b) => i32x4.min_s(a, b),
    u32: (_c, a, b) => i32x4.min_u(a, b),
    bool: (_c, a, b) => v128.and(a, b),
  },
  maximum: {
    f32: (_c, a, b) => f32x4.max(a, b),
    f64: (_c, a, b) => f64x2.max(a, b),
    i32: (_c, a, b) => i32x4.max_s(a, b),
    u32: (_c, a, b) => i32x4.max_u(a, b),
    bool: (_c, a, b) => v128.or(a, b),
  },
  eq: compare("eq", (a, b) => not(v128.xor(a, b))),
  ne: compare("ne", (a, b) => v128.xor(a, b)),
  lt: compare("lt", (a, b) => v128.andnot(b, a)),
  le: compare("le", (a, b) => v128.or(not(a), b)),
  gt: compare("gt", (a, b) => v128.andnot(a, b)),
  ge: compare("ge", (a, b) => v128.or(a, not(b))),
  and: bitwise((_c, a, b) => v128.and(a, b)),
  or: bitwise((_c, a, b) => v128.or(a, b)),
  xor: bitwise((_c, a, b) => v128.xor(a, b)),
  shiftLeft: { i32: shift("shl", tooFarI32), u32: shift("shl", tooFarU32) },
  shiftRight: { i32: shift("shr_u", tooFarI32), u32: shift("shr_u", tooFarU32) },
  where: {
    f32: select32,
    f64: (c, a, b, d) => v128.bitselect(b, d, widen(c, a)),
    i32: select32,
    u32: select32,
    bool: select32,
  },
} satisfies { [F in ScalarOp]: { [D in Accepted[(typeof scalarOps)[F]["rule"]]]: Lane } };

/** The code of an op for operands of a dtype. */
export const laneOf = (fn: ScalarOp, dtype: DType): Lane | undefined =>
  (table[fn] as { readonly [D in DType]?: Lane })[dtype];

/** Functions of `math` that the op's code may call. */
export function importsOf(fn: ScalarOp, dtype: DType): readonly MathImport[] {
  const name = fn as MathImport;
  if (dtype === "f64") return name in math.mathImports && fn !== "rsqrt" ? [name] : [];
  return fn === "sin" || fn === "cos" || fn === "tan" || (fn === "mod" && dtype === "f32") ? [name] : [];
}

/** A rough price of an op per vector, in additions: what decides tile sizes, unrolling and what is worth keeping. */
export function costOf(fn: ScalarOp, dtype: DType): number {
  if (dtype === "f64" && fn in math.mathImports) return 40;
  if (fn in math.mathImports) return fn === "rsqrt" ? 6 : fn === "mod" || fn === "pow" || fn === "tan" ? 60 : 25;
  return fn === "div" || fn === "sqrt" ? 5 : 1;
}
