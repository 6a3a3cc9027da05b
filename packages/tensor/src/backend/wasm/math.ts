/**
 * Elementary functions of four f32 at once, written into a function body: each takes the builder and a vector and
 * returns a vector. Straight-line code, no tables; NaN and the infinities behave as IEEE 754 says. The polynomials
 * are minimax fits (Remez exchange at 40 digits, then rounded); bounds are in units of the last place of the exact
 * result, with or without fused multiply-add, subnormal results included.
 */
import {
  call,
  f32,
  f32x4,
  f64,
  f64x2,
  i32x4,
  i64x2,
  v128,
  type Callable,
  type Func,
  type Local,
  type V128,
} from "./assembler.ts";
import { specialFunctions } from "../../special.ts";

type Vector = Local<"v128">;

const SIGN = -0x80000000;
const LOG2E = Math.LOG2E;
/** Adding it to a small float leaves that float, rounded to an integer, in the low bits. */
const ROUND = 1.5 * 2 ** 23;
const ROUND_BITS = 0x4b400000;
/** ln 2 in two parts; a product of the first with an exponent is exact. */
const LN2_HIGH = Math.round(Math.LN2 * 2 ** 15) / 2 ** 15;
const LN2_LOW = Math.LN2 - LN2_HIGH;
const SQRT_HALF_BITS = 0x3f3504f3;

const EXP = [0.5, 0.16666518, 0.041666202, 0.008369018, 0.0013950705]; // (exp r - 1 - r)/r², |r| <= ln2/2
const LOG = [0.3333333, -0.25000808, 0.20001268, -0.16623804, 0.14201361, -0.13156, 0.12761964, -0.07644769]; // (log(1+t) - t + t²/2)/t³
const TANH = [-0.3333333, 0.13333198, -0.05394565, 0.021693842, -0.008158909, 0.0021248588]; // (tanh x - x)/x³ in x², x² <= 0.4
const ERF = [0.12837917, -0.37612626, 0.112836, -0.026854444, 0.0051895357, -8.020845e-4, 7.8891324e-5]; // erf x/x - 1 in x², |x| <= 1
const ERFC = [1.0215827, -0.6871608, 0.27947176, -0.03643332, -0.021498052, 0.006317835, 0.002931158]; // (x+2)·exp(x²)·erfc x in (x-2)/(x+2), 1 <= x <= 4
const NORMAL = [
  0.75528514, -0.6078966, 0.3871366, -0.18652253, 0.06040744, -0.007529551, -0.0035287421, 0.0015713761, 2.0342972e-4,
  -1.1878405e-4,
]; // (x+4)·exp(x²/2)·Φ(-x) in (x-4)/(x+4), 0 <= x <= 14.5
const SIN = [-0.16666655, 0.008332176, -1.951695e-4]; // (sin r - r)/r³ in r², |r| <= π/4
const COS = [0.041666646, -0.0013887372, 2.443876e-5]; // (cos r - 1 + r²/2)/r⁴ in r²
const LOG2_F64 = [2.885390081790153, 0.9617966732674971, 0.5770835978779749, 0.4116720014240993, 0.34074255979603385]; // log2((1+s)/(1-s))/s in s²
const EXP2_F64 = [
  1.0000000005542222, 0.6931472057371089, 0.24022646890405355, 0.05550328777509786, 0.009618488985280236,
  0.0013399931049639334, 0.00015345804192248,
];

function polynomial(
  space: { madd: typeof f32x4.madd; const: typeof f32x4.const },
  x: V128,
  coefficients: readonly number[],
): V128 {
  return coefficients
    .slice(0, -1)
    .reduceRight((sum: V128, c) => space.madd(sum, x, c), space.const(coefficients.at(-1)!));
}

const signOf = (x: V128): V128 => v128.and(x, SIGN);
/** Gives a magnitude the sign of x; unlike arithmetic, it keeps -0. */
const withSign = (magnitude: V128, x: V128): V128 => v128.or(magnitude, signOf(x));
const exponentOf2 = (k: V128): V128 => i32x4.shl(i32x4.add(k, 127), 23);

// ---- exponentials ----

/** exp(a + tail) = (1 + m)·2^k, for |a| < 2^22 and a tail too small to matter to k. */
function expParts(f: Func, a: V128, tail?: V128): { m: Vector; k: Vector } {
  const x = f.let(a);
  const shifted = f.let(f32x4.madd(x, LOG2E, ROUND));
  const n = f.let(f32x4.sub(shifted, ROUND));
  const rest = f32x4.madd(n, -LN2_LOW, f32x4.madd(n, -LN2_HIGH, x));
  const r = f.let(tail === undefined ? rest : f32x4.add(rest, tail));
  const m = f.let(f32x4.madd(f32x4.mul(r, r), polynomial(f32x4, r, EXP), r));
  return { m, k: f.let(i32x4.sub(shifted, ROUND_BITS)) };
}

/** x·2^k rounded once, also where 2^k itself would overflow or be subnormal. */
function scale(f: Func, x: V128, k: Vector): V128 {
  const half = f.let(i32x4.shr_s(k, 1));
  return f32x4.mul(f32x4.mul(x, exponentOf2(half)), exponentOf2(i32x4.sub(k, half)));
}

const clamp = (x: V128, low: number, high: number): V128 => f32x4.pmin(f32x4.pmax(x, low), high); // pmin and pmax hand a NaN in x on

/** Within 1 ulp. */
export function exp(f: Func, x: V128): V128 {
  const { m, k } = expParts(f, clamp(x, -104, 89));
  return scale(f, f32x4.add(m, 1), k);
}

/** exp(x) for x in [-87, 88], where 2^k is a normal number. */
function expNear(f: Func, x: V128): V128 {
  const { m, k } = expParts(f, x);
  return f32x4.mul(f32x4.add(m, 1), exponentOf2(k));
}

/** exp(x) - 1 without cancellation, within 2 ulp. */
export function expm1(f: Func, x: V128): V128 {
  const input = f.let(x);
  const { m, k } = expParts(f, clamp(input, -30, 89));
  const half = f.let(exponentOf2(i32x4.sub(k, 1))); // of 2^k: 2^128 is not a float
  const scaled = f32x4.mul(f32x4.madd(m, half, f32x4.sub(half, 0.5)), 2);
  return withSign(v128.bitselect(m, scaled, i32x4.eq(k, 0)), input);
}

/** 1/(1 + exp(-x)), within 2 ulp in both tails. */
export function sigmoid(f: Func, x: V128): V128 {
  const input = f.let(x);
  const e = f.let(exp(f, f32x4.neg(f32x4.abs(input))));
  const negative = f.let(f32x4.lt(input, 0));
  const sum = f.let(f32x4.add(e, 1));
  const lost = f32x4.add(f32x4.sub(1, sum), e); // what rounding 1 + e dropped
  const y = f.let(f32x4.div(v128.bitselect(e, f32x4.const(1), negative), sum));
  const inverse = v128.bitselect(f32x4.sub(1, y), y, negative); // 1/(1 + e)
  return f32x4.sub(y, f32x4.mul(f32x4.mul(y, lost), inverse));
}

/** Within 2 ulp. */
export function tanh(f: Func, x: V128): V128 {
  const input = f.let(x);
  const a = f.let(f32x4.abs(input));
  const square = f.let(f32x4.mul(a, a));
  const near = f.let(f32x4.madd(f32x4.mul(a, square), polynomial(f32x4, square, TANH), a));
  const e = expNear(f, f32x4.pmin(f32x4.add(a, a), 20));
  const far = f32x4.sub(1, f32x4.div(2, f32x4.add(e, 1)));
  return withSign(v128.bitselect(near, far, f32x4.lt(a, 0.625)), input);
}

// ---- logarithms ----

/** x = (1 + t)·2^e with 1 + t in [√½, √2), for x positive and finite; e as a float. */
function logParts(f: Func, x: V128): { t: Vector; e: Vector } {
  const input = f.let(x);
  const subnormal = f.let(f32x4.lt(input, 2 ** -126));
  const normal = v128.bitselect(f32x4.mul(input, 2 ** 23), input, subnormal);
  const shifted = f.let(i32x4.sub(normal, SQRT_HALF_BITS));
  const t = f.let(f32x4.sub(i32x4.add(v128.and(shifted, 0x7fffff), SQRT_HALF_BITS), 1));
  const exponent = f32x4.convert_i32x4_s(i32x4.shr_s(shifted, 23));
  return { t, e: f.let(f32x4.sub(exponent, v128.and(subnormal, f32x4.const(23)))) };
}

/** log(1 + t) + e·ln 2. */
function logSum(f: Func, t: Vector, e: Vector): V128 {
  const square = f.let(f32x4.mul(t, t));
  const cubic = f32x4.madd(f32x4.mul(square, t), polynomial(f32x4, t, LOG), f32x4.mul(e, LN2_LOW));
  return f32x4.madd(e, LN2_HIGH, f32x4.add(t, f32x4.madd(square, -0.5, cubic)));
}

/** The value where x is positive and finite, else what the logarithm of x is. */
function logEdges(value: V128, x: Vector): V128 {
  const inside = v128.and(f32x4.gt(x, 0), f32x4.lt(x, Infinity));
  const outside = v128.bitselect(f32x4.const(NaN), x, f32x4.lt(x, 0));
  return v128.bitselect(value, v128.bitselect(f32x4.const(-Infinity), outside, f32x4.eq(x, 0)), inside);
}

/** Within 1 ulp; log(0) is -∞ and a negative number gives NaN. */
export function log(f: Func, x: V128): V128 {
  const input = f.let(x);
  const { t, e } = logParts(f, input);
  return logEdges(logSum(f, t, e), input);
}

/** log(1 + x) without cancellation, within 2 ulp. */
export function log1p(f: Func, x: V128): V128 {
  const input = f.let(x);
  const sum = f.let(f32x4.add(input, 1));
  const other = f.let(f32x4.sub(sum, 1));
  const lost = f.let(f32x4.add(f32x4.sub(1, f32x4.sub(sum, other)), f32x4.sub(input, other))); // what rounding 1 + x dropped, exactly
  const { t, e } = logParts(f, sum);
  const down = i32x4.shl(i32x4.max_s(i32x4.sub(127, i32x4.trunc_sat_f32x4_s(e)), 0), 23); // 2^-e
  const corrected = f.let(f32x4.madd(lost, down, t));
  return v128.or(logEdges(logSum(f, corrected, e), sum), v128.and(input, f32x4.eq(input, 0))); // log1p(-0) is -0
}

/** log(1 + exp(x)), never overflowing, within 3 ulp. */
export function softplus(f: Func, x: V128): V128 {
  const input = f.let(x);
  return f32x4.add(f32x4.pmax(input, 0), log1p(f, exp(f, f32x4.neg(f32x4.abs(input)))));
}

// ---- the normal distribution ----

/** Within 2 ulp. */
export function erf(f: Func, x: V128): V128 {
  const input = f.let(x);
  const a = f.let(f32x4.abs(input));
  const square = f.let(f32x4.mul(a, a));
  const near = f.let(f32x4.madd(a, polynomial(f32x4, square, ERF), a));
  const capped = f.let(f32x4.pmin(a, 4)); // erf(4) rounds to 1
  const inverse = f.let(f32x4.div(1, f32x4.add(capped, 2)));
  const tail = f32x4.mul(polynomial(f32x4, f.let(f32x4.mul(f32x4.sub(capped, 2), inverse)), ERFC), inverse);
  const far = f32x4.sub(1, f32x4.mul(expNear(f, f32x4.neg(f32x4.mul(capped, capped))), tail));
  return withSign(v128.bitselect(near, far, f32x4.lt(a, 1)), input);
}

/** The standard normal distribution function, within 4 ulp in both tails. */
export function normalCdf(f: Func, x: V128): V128 {
  const input = f.let(x);
  const a = f.let(f32x4.pmin(f32x4.abs(input), 14.5)); // beyond, Φ(-a) rounds to 0
  const head = f.let(v128.and(a, -0x1000)); // 12 bits, whose square is exact: the tail needs all of a²
  const rest = f32x4.mul(f32x4.mul(f32x4.sub(a, head), f32x4.add(a, head)), -0.5);
  const { m, k } = expParts(f, f32x4.mul(f32x4.mul(head, head), -0.5), rest);
  const inverse = f.let(f32x4.div(1, f32x4.add(a, 4)));
  const factor = f.let(f32x4.mul(polynomial(f32x4, f.let(f32x4.mul(f32x4.sub(a, 4), inverse)), NORMAL), inverse));
  const lower = f.let(scale(f, f32x4.madd(m, factor, factor), k));
  const far = v128.bitselect(f32x4.sub(1, lower), lower, f32x4.gt(input, 0));
  const z = f.let(f32x4.mul(input, Math.SQRT1_2));
  const halfErf = f32x4.mul(f32x4.madd(z, polynomial(f32x4, f.let(f32x4.mul(z, z)), ERF), z), 0.5);
  return v128.bitselect(f32x4.add(halfErf, 0.5), far, f32x4.lt(a, 1));
}

// ---- functions that need f64 inside ----

const upper = (x: V128): V128 => v128.shuffle32(x, x, [2, 3, 2, 3]);

/** Runs an f64 computation on both halves of some f32 vectors and rounds its results back. */
function inF64(f: Func, inputs: readonly V128[], compute: (...halves: Vector[]) => V128[]): Vector[] {
  const low = compute(...inputs.map((x) => f.let(f64x2.promote_low_f32x4(x)))).map((x) => f.let(x));
  const high = compute(...inputs.map((x) => f.let(f64x2.promote_low_f32x4(upper(x))))).map((x) => f.let(x));
  return low.map((x, i) =>
    f.let(v128.shuffle32(f32x4.demote_f64x2_zero(x), f32x4.demote_f64x2_zero(high[i]!), [0, 1, 4, 5])),
  );
}

/** Replaces the lanes of `result` under the mask by an imported f64 function of the inputs; costs a test where no lane needs it. */
function rarely(f: Func, mask: V128, result: Vector, slow: Callable<"f64">, ...inputs: Vector[]): Vector {
  const where = f.let(mask);
  f.if(v128.any_true(where), () => {
    const exact = f.local("v128");
    for (const lane of [0, 1, 2, 3]) {
      const arguments64 = inputs.map((x) => f64.promote_f32(f32x4.extract(x, lane)));
      f.set(exact, f32x4.replace(exact, lane, f32.demote_f64(call(slow, ...arguments64))));
    }
    f.set(result, v128.bitselect(exact, result, where));
  });
  return result;
}

/** Quarter turns are counted exactly up to here: 20 bits of count times 33 bits of π/2. */
const TURNS_LIMIT = 2 ** 20;
const QUARTER_HIGH = Math.round((Math.PI / 2) * 2 ** 32) / 2 ** 32;
const QUARTER_LOW = Math.PI / 2 - QUARTER_HIGH + 6.123233995736766e-17; // the last term is what Math.PI/2 lacks

/** x = q·π/2 + r with |r| <= π/4; the sine and cosine of r, and q. */
function quarterTurn(f: Func, x: Vector): { sine: Vector; cosine: Vector; q: Vector } {
  const [r, turns] = inF64(f, [x], (wide) => {
    const n = f.let(f64x2.nearest(f64x2.mul(wide, 2 / Math.PI)));
    return [f64x2.sub(f64x2.sub(wide, f64x2.mul(n, QUARTER_HIGH)), f64x2.mul(n, QUARTER_LOW)), n];
  }) as [Vector, Vector];
  const square = f.let(f32x4.mul(r, r));
  const sine = f.let(f32x4.madd(f32x4.mul(r, square), polynomial(f32x4, square, SIN), r));
  const cosine = f.let(
    f32x4.madd(f32x4.mul(square, square), polynomial(f32x4, square, COS), f32x4.madd(square, -0.5, 1)),
  );
  return { sine, cosine, q: f.let(i32x4.trunc_sat_f32x4_s(turns)) };
}

const isOdd = (q: V128): V128 => i32x4.shr_s(i32x4.shl(q, 31), 31);
const signOfTurn = (q: V128): V128 => i32x4.shl(v128.and(q, 2), 30);
const farOut = (x: V128): V128 => f32x4.gt(f32x4.abs(x), TURNS_LIMIT);
/** A zero result at a zero input takes the input's sign. */
const keepZero = (result: V128, x: Vector): V128 => v128.or(result, v128.and(x, f32x4.eq(x, 0)));

/** Within 2 ulp for every x; `slow` is `math.sin`, called beyond 2^20. */
export function sin(f: Func, x: V128, slow: Callable<"f64">): V128 {
  const input = f.let(x);
  const { sine, cosine, q } = quarterTurn(f, input);
  const near = f.let(keepZero(v128.xor(v128.bitselect(cosine, sine, isOdd(q)), signOfTurn(q)), input));
  return rarely(f, farOut(input), near, slow, input);
}

/** Within 2 ulp for every x; `slow` is `math.cos`, called beyond 2^20. */
export function cos(f: Func, x: V128, slow: Callable<"f64">): V128 {
  const input = f.let(x);
  const { sine, cosine, q } = quarterTurn(f, input);
  const near = f.let(v128.xor(v128.bitselect(sine, cosine, isOdd(q)), signOfTurn(i32x4.add(q, 1))));
  return rarely(f, farOut(input), near, slow, input);
}

/** Within 4 ulp for every x; `slow` is `math.tan`, called beyond 2^20. */
export function tan(f: Func, x: V128, slow: Callable<"f64">): V128 {
  const input = f.let(x);
  const { sine, cosine, q } = quarterTurn(f, input);
  const odd = f.let(isOdd(q));
  const ratio = f32x4.div(v128.bitselect(f32x4.neg(cosine), sine, odd), v128.bitselect(sine, cosine, odd));
  return rarely(f, farOut(input), f.let(keepZero(ratio, input)), slow, input);
}

/** `Math.pow`, corners included (`1 ** ∞` is NaN), within 1 ulp. */
export function pow(f: Func, x: V128, y: V128): V128 {
  const [base, power] = [f.let(x), f.let(y)];
  const a = f.let(f32x4.abs(base));
  const { t, e } = logParts(f, a);
  const exponent = f.let(logEdges(e, a)); // carries 0, ∞ and NaN
  const [magnitude] = inF64(f, [t, exponent, power], (t64, e64, y64) => {
    const s = f.let(f64x2.div(t64, f64x2.add(t64, 2)));
    const log2 = f64x2.madd(s, polynomial(f64x2, f.let(f64x2.mul(s, s)), LOG2_F64), e64);
    const product = f.let(f64x2.pmin(f64x2.pmax(f64x2.mul(y64, log2), -200), 200));
    const n = f.let(f64x2.nearest(product));
    const power2 = i64x2.shl(i64x2.add(i64x2.extend_low_i32x4_s(i32x4.trunc_sat_f64x2_s_zero(n)), 1023), 52);
    return [f64x2.mul(polynomial(f64x2, f.let(f64x2.sub(product, n)), EXP2_F64), power2)];
  }) as [Vector];
  const integer = f.let(f32x4.eq(f32x4.trunc(power), power));
  const halfPower = f.let(f32x4.mul(power, 0.5));
  const odd = v128.and(integer, f32x4.ne(f32x4.trunc(halfPower), halfPower));
  const signed = v128.or(magnitude, v128.and(signOf(base), odd));
  const undefinedAt = v128.andnot(v128.and(f32x4.lt(base, 0), f32x4.lt(a, Infinity)), integer);
  const defined = v128.bitselect(f32x4.const(NaN), signed, undefinedAt);
  return v128.bitselect(f32x4.const(1), defined, f32x4.eq(power, 0));
}

/** The remainder with the divisor's sign, exact, then rounded; `slow` is `math.mod`, for enormous quotients and infinities. */
export function mod(f: Func, x: V128, y: V128, slow: Callable<"f64">): V128 {
  const [a, b] = [f.let(x), f.let(y)];
  const [rest] = inF64(f, [a, b], (a64, b64) => [f64x2.sub(a64, f64x2.mul(f64x2.floor(f64x2.div(a64, b64)), b64))]) as [
    Vector,
  ];
  const signed = f.let(v128.bitselect(signOf(b), rest, f32x4.eq(rest, 0)));
  const rare = v128.or(f32x4.gt(f32x4.abs(f32x4.div(a, b)), 2 ** 28), f32x4.eq(f32x4.abs(b), Infinity));
  return rarely(f, rare, signed, slow, a, b);
}

/** 1/√x, within 1 ulp. */
export function rsqrt(_f: Func, x: V128): V128 {
  return f32x4.div(1, f32x4.sqrt(x));
}

/**
 * What a kernel may import from `math`: functions of f64, for f64 kernels and for the rare lanes above. A closure that names
 * nothing outside itself, so that a worker can be given its text.
 */
export function mathFunctions({
  erf,
  normalCdf,
  sigmoid,
  softplus,
}: Omit<ReturnType<typeof specialFunctions>, "erfc">) {
  return {
    exp: Math.exp,
    expm1: Math.expm1,
    log: Math.log,
    log1p: Math.log1p,
    tanh: Math.tanh,
    sin: Math.sin,
    cos: Math.cos,
    tan: Math.tan,
    pow: Math.pow,
    sigmoid,
    softplus,
    erf,
    normalCdf,
    rsqrt: (x: number) => 1 / Math.sqrt(x),
    /** With the sign of b; a zero result is a zero of that sign. */
    mod(a: number, b: number): number {
      const rest = a % b;
      if (rest === 0) return b < 0 ? -0 : 0;
      return rest < 0 !== b < 0 ? rest + b : rest;
    },
  };
}

export const mathImports = mathFunctions(specialFunctions());

export type MathImport = keyof typeof mathImports;
