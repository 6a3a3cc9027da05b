/**
 * Numbers that every contestant can draw alike, in any language: number `i` of a stream is a hash of `i` (the finalizer of
 * MurmurHash3), spread evenly with mean 0 and standard deviation `scale`.
 */
export function draw(size: number, seed: number, stream: number, scale = 1): Float32Array<ArrayBuffer> {
  const out = new Float32Array(size);
  const start = Math.imul(seed, 0x9e3779b9) ^ Math.imul(stream, 0x7f4a7c15);
  const spread = scale * Math.sqrt(3);
  for (let i = 0; i < size; i++) {
    let x = (start + i) | 0;
    x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
    x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
    x ^= x >>> 16;
    out[i] = ((x >>> 8) / 2 ** 23 - 1) * spread;
  }
  return out;
}

/** Whole numbers in `[0, below)` from the same streams. */
export const drawIntegers = (size: number, seed: number, stream: number, below: number): Int32Array =>
  Int32Array.from(draw(size, seed, stream, 1 / Math.sqrt(3)), (u) => Math.floor(((u + 1) / 2) * below));

/** Lengths of `groups` runs that add up to `rows`, uneven, some perhaps empty. */
export function drawOffsets(groups: number, rows: number, seed: number): Int32Array {
  const offsets = new Int32Array(groups + 1);
  for (const group of drawIntegers(rows, seed, 99, groups)) offsets[group + 1]++;
  for (let g = 0; g < groups; g++) offsets[g + 1] += offsets[g];
  return offsets;
}
