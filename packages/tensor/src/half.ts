const word = new Float32Array(1);
const wordBits = new Uint32Array(word.buffer);

/** The bits of the IEEE binary16 (1 sign bit, 5 of exponent, 10 of fraction) nearest to a number of f32; ties go to even. */
export function halfOfFloat(x: number): number {
  word[0] = x;
  const bits = wordBits[0];
  const sign = (bits >>> 16) & 0x8000;
  const size = Math.abs(x);
  if (Number.isNaN(x)) return 0x7e00;
  if (size >= 65520) return sign | 0x7c00; // half-way to what would come after 65504
  if (size < 2 ** -14) return sign | roundToEven(size * 2 ** 24); // subnormal: a multiple of 2^-24
  // A carry runs from the fraction into the exponent, as it should; the exponent's bias falls from 127 to 15.
  const rest = bits & 0x7fffffff;
  return sign | (((rest + 0xfff + ((rest >>> 13) & 1)) >>> 13) - (112 << 10));
}

/** The number that the bits of a binary16 stand for. */
export function floatOfHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (exponent - 25);
}

/** The nearest number that a binary16 holds; from 65520 on, infinity. A number is rounded to f32 first. */
export const roundToHalf = (x: number): number => floatOfHalf(halfOfFloat(Math.fround(x)));

function roundToEven(x: number): number {
  const below = Math.floor(x);
  const over = x - below;
  return over > 0.5 || (over === 0.5 && below % 2 === 1) ? below + 1 : below;
}
