/**
 * Special functions to a thousand digits, from their defining series in fixed point:
 * a number is a BigInt counting units of 2^-BITS.
 */

/** erfc reaches 2^-1074, and its series passes through terms as large as exp(27²) on the way there. */
const BITS = 2400n;
const ONE = 1n << BITS;

export function fixed(x: number): bigint {
  const shift = 1074; // every double is a whole number of 2^-1074
  const [hi, exponent] = split(x);
  const bits = BigInt(exponent + shift);
  return (hi << bits) << (BITS - BigInt(shift));
}

function split(x: number): [bigint, number] {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, x);
  const bits = view.getBigUint64(0);
  const biased = Number((bits >> 52n) & 0x7ffn);
  const fraction = bits & ((1n << 52n) - 1n);
  const whole = biased === 0 ? fraction : fraction | (1n << 52n);
  return [x < 0 ? -whole : whole, Math.max(biased, 1) - 1075];
}

const mul = (a: bigint, b: bigint): bigint => (a * b) >> BITS;
const div = (a: bigint, b: bigint): bigint => (a << BITS) / b;
const abs = (a: bigint): bigint => (a < 0n ? -a : a);

function atanInverse(n: bigint): bigint {
  let power = ONE / n;
  let sum = power;
  for (let k = 3n; power !== 0n; k += 2n) {
    power = -power / (n * n);
    sum += power / k;
  }
  return sum;
}

function sqrt(a: bigint): bigint {
  let root = ONE;
  for (let i = 0; i < 40; i++) root = (root + div(a, root)) >> 1n;
  return root;
}

const PI = 16n * atanInverse(5n) - 4n * atanInverse(239n);
const TWO_OVER_ROOT_PI = div(2n * ONE, sqrt(PI));

function exp(x: bigint): bigint {
  if (x < 0n) return div(ONE, exp(-x));
  let sum = ONE;
  let term = ONE;
  for (let n = 1n; term !== 0n; n++) sum += term = mul(term, x) / n;
  return sum;
}

function log(y: bigint, guess: number): bigint {
  let x = fixed(guess);
  for (let i = 0; i < 6; i++) {
    const e = exp(x);
    x += 2n * div(y - e, y + e);
  }
  return x;
}

export function erf(x: bigint): bigint {
  const square = mul(x, x);
  let term = x;
  let sum = x;
  for (let n = 1n; abs(term) > 1n; n++) {
    term = -mul(term, square) / n;
    sum += term / (2n * n + 1n);
  }
  return mul(sum, TWO_OVER_ROOT_PI);
}

export const erfc = (x: bigint): bigint => ONE - erf(x);
export const normalCdf = (x: bigint): bigint => erfc(div(-x, sqrt(2n * ONE))) >> 1n;
export const sigmoid = (x: bigint): bigint => div(ONE, ONE + exp(-x));
export const softplus = (x: bigint, guess: number): bigint => log(ONE + exp(x), guess);

/** How far `got` is from the truth, in units of the last place of an f64 near the truth. */
export function ulps(got: number, truth: bigint): number {
  const bits = BigInt(abs(truth).toString(2).length);
  const unit = bits - 53n > BITS - 1074n ? bits - 53n : BITS - 1074n;
  return Number((abs(fixed(got) - truth) << 20n) >> unit) / 2 ** 20;
}
