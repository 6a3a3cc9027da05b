import { ConfigError } from "@switchyard/tensor";
import { wholeNumber } from "@switchyard/tensor/graph";

/**
 * A shuffle of `0..count-1` as a function of the place: it holds nothing, however long it is, so that any step of any epoch can be had at
 * once. A Feistel network of four rounds over the next power of four, walked on until it lands inside (Black and Rogaway 2002, "Ciphers
 * with Arbitrary Finite Domains").
 *
 * @param seed the same seed, the same order.
 */
export function shuffled(count: number, seed: number): (place: number) => number {
  if (!wholeNumber.holds(count) || count > 2 ** 52)
    throw new ConfigError(`shuffled: count must be ${wholeNumber.must} and at most 2^52, got ${count}`);
  const half = Math.max(1, Math.ceil(Math.log2(Math.max(count, 2)) / 2)); // bits of a half
  const size = 2 ** half;
  const round = (left: number, right: number, i: number): number => (left ^ mixed(right, seed, i)) & (size - 1);
  const once = (x: number): number => {
    let [left, right] = [Math.floor(x / size), x % size];
    for (let i = 0; i < 4; i++) [left, right] = [right, round(left, right, i)];
    return left * size + right;
  };
  return (place) => {
    let x = once(place);
    while (x >= count) x = once(x); // a permutation of more: its cycle comes back inside
    return x;
  };
}

/** 32 bits that depend on each bit of what is given (the finisher of MurmurHash3, Appleby 2011). */
function mixed(x: number, seed: number, round: number): number {
  let h = (x ^ Math.imul(seed, 0x9e3779b1) ^ Math.imul(Math.floor(seed / 2 ** 32) + round + 1, 0x85ebca6b)) >>> 0;
  for (const factor of [0x85ebca6b, 0xc2b2ae35]) {
    h ^= h >>> 16;
    h = Math.imul(h, factor) >>> 0;
    h ^= h >>> 13;
  }
  return (h ^ (h >>> 16)) >>> 0;
}

/**
 * The items of each step, when all are seen once an epoch, in an order of its own: a pure function of the step. What is left of an epoch
 * goes into the first step of the next.
 */
export function shuffledSteps(count: number, batch: number, seed: number): (step: number) => number[] {
  if (batch < 1 || count < 1)
    throw new ConfigError(`shuffledSteps: count and batch must be at least 1, got ${count} and ${batch}`);
  let order = { epoch: -1, at: shuffled(count, seed) };
  return (step) =>
    Array.from({ length: batch }, (_, i) => {
      const place = step * batch + i;
      const epoch = Math.floor(place / count);
      // Remembered for speed alone: the order of an epoch is the same whenever it is asked for.
      if (order.epoch !== epoch) order = { epoch, at: shuffled(count, seed + epoch * 2 ** 21) };
      return order.at(place % count);
    });
}
