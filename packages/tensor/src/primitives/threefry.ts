const rotations = [13, 15, 26, 6, 17, 29, 16, 24];

const rotate = (x: number, by: number): number => ((x << by) | (x >>> (32 - by))) >>> 0;

/**
 * Threefry-2x32 with 20 rounds (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011): encrypts the counter
 * `(c0, c1)` under the key `(k0, k1)` into `out[0]` and `out[1]`.
 */
export function threefry(out: Uint32Array, k0: number, k1: number, c0: number, c1: number): void {
  const keys = [k0, k1, (0x1bd11bda ^ k0 ^ k1) >>> 0];
  let x0 = (c0 + k0) >>> 0;
  let x1 = (c1 + k1) >>> 0;
  for (let round = 0; round < 20; round++) {
    x0 = (x0 + x1) >>> 0;
    x1 = rotate(x1, rotations[round % 8]) ^ x0;
    if (round % 4 === 3) {
      const s = (round + 1) / 4;
      x0 = (x0 + keys[s % 3]) >>> 0;
      x1 = (x1 + keys[(s + 1) % 3] + s) >>> 0;
    }
  }
  out[0] = x0;
  out[1] = x1;
}
