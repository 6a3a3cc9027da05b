import { beforeAll, describe, expect, test } from "vitest";
import { fc, test as property } from "@fast-check/vitest";
import { ConfigError, full, init, random, tensor, zeros, type Key } from "@switchyard/tensor";
import { topologicalOrder } from "@switchyard/tensor/graph";

beforeAll(() => init("cpu"));

const rawKey = (a: number, b: number): Key => tensor(Uint32Array.of(a, b));
const mean = (xs: ArrayLike<number>): number => Array.from(xs).reduce((a, b) => a + b, 0) / xs.length;
const moment = (xs: ArrayLike<number>, power: number): number => mean(Array.from(xs, (x) => x ** power));

/** The Kolmogorov-Smirnov distance of a sample from a distribution, times the square root of the size. Above 1.95 once in a thousand. */
function ksDistance(sample: ArrayLike<number>, cdf: (x: number) => number): number {
  const sorted = Float64Array.from(sample).toSorted();
  let worst = 0;
  sorted.forEach((x, i) => {
    worst = Math.max(worst, Math.abs(cdf(x) - i / sorted.length), Math.abs(cdf(x) - (i + 1) / sorted.length));
  });
  return worst * Math.sqrt(sorted.length);
}

/** Pearson's statistic, as a number of standard deviations from what chance gives. */
function chiSquareDeviation(counts: readonly number[], expected: readonly number[]): number {
  const statistic = counts.reduce((total, n, i) => total + (n - expected[i]) ** 2 / expected[i], 0);
  const freedom = counts.length - 1;
  return (statistic - freedom) / Math.sqrt(2 * freedom);
}

/** The normal distribution function by Simpson's rule, from its density alone. */
function normalCdfBySimpson(x: number): number {
  const steps = 400;
  const density = (t: number): number => Math.exp((-t * t) / 2) / Math.sqrt(2 * Math.PI);
  let total = 0;
  for (let i = 0; i < steps; i++) {
    const [a, b] = [(x * i) / steps, (x * (i + 1)) / steps];
    total += ((b - a) / 6) * (density(a) + 4 * density((a + b) / 2) + density(b));
  }
  return 0.5 + total;
}

describe("bits", () => {
  test.each([
    { key: [0, 0], stream: 0, index: 0, words: [0x6b200159, 0x99ba4efe] },
    { key: [0xffffffff, 0xffffffff], stream: 0xffffffff, index: 0xffffffff, words: [0x1cb996fc, 0xbb002be7] },
    { key: [0x13198a2e, 0x03707344], stream: 0x85a308d3, index: 0x243f6a88, words: [0xc4923a9c, 0x483df7a0] },
  ])("Threefry gives the published words for key $key", async ({ key, stream, index, words }) => {
    const { threefry } = await import("../../src/primitives/threefry.ts");
    const out = new Uint32Array(2);
    threefry(out, key[0], key[1], index, stream);
    expect([...out]).toEqual(words);
  });

  test("words 2i and 2i + 1 are Threefry of the counter (i, 0)", async () => {
    expect([...(await random.bits(rawKey(0, 0), [2]).data())]).toEqual([0x6b200159, 0x99ba4efe]);
    const { threefry } = await import("../../src/primitives/threefry.ts");
    const data = await random.bits(rawKey(7, 9), [5, 3]).data();
    const out = new Uint32Array(2);
    for (let i = 0; i < 7; i++) {
      threefry(out, 7, 9, i, 0);
      expect([data[2 * i], data[2 * i + 1]]).toEqual([...out]);
    }
  });

  property.prop([fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: 40 })])(
    "an element depends on its position alone, not on the shape",
    async (short, long) => {
      const k = random.key(3);
      const [a, b] = [Math.min(short, long), Math.max(short, long)];
      const [head, whole] = await Promise.all([random.bits(k, [a]).data(), random.bits(k, [b]).data()]);
      expect([...head]).toEqual([...whole].slice(0, a));
    },
  );

  test("every bit is set half of the time", async () => {
    const data = await random.bits(random.key(1), [4096]).data();
    for (let bit = 0; bit < 32; bit++) {
      const share = mean(Array.from(data, (w) => (w >>> bit) & 1));
      expect(Math.abs(share - 0.5)).toBeLessThan(4 * Math.sqrt(0.25 / 4096));
    }
  });
});

describe("keys", () => {
  test("a seed up to 2^53 fills both words", async () => {
    expect([...(await random.key(5).data())]).toEqual([0, 5]);
    expect([...(await random.key(2 ** 40 + 5).data())]).toEqual([256, 5]);
    expect([...(await random.key(-1).data())]).toEqual([0xffffffff, 0xffffffff]);
  });

  test.each([0.5, NaN, 2 ** 53])("the seed %d is refused", (seed) => {
    expect(() => random.key(seed)).toThrow(ConfigError);
  });

  test("keys from split, from fold and the key itself are all different, and so are their streams", async () => {
    const k = random.key(0);
    const family = [k, ...random.split(k, 20), ...Array.from({ length: 20 }, (_, i) => random.fold(k, i))];
    const draws = await Promise.all(family.flatMap((x) => [x.data(), random.bits(x, [2]).data()]));
    expect(new Set(draws.map(String)).size).toBe(draws.length);
  });

  test("streams of sibling keys are uncorrelated", async () => {
    const [a, b] = random.split(random.key(4));
    const [x, y] = await Promise.all([random.normal(a, [20_000]).data(), random.normal(b, [20_000]).data()]);
    expect(Math.abs(mean(x.map((v, i) => v * y[i])))).toBeLessThan(4 / Math.sqrt(20_000));
  });

  test("split is typed as a tuple of as many keys", () => {
    const two: [Key, Key] = random.split(random.key(0));
    const three: [Key, Key, Key] = random.split(random.key(0), 3);
    const many: Key[] = random.split(random.key(0), two.length + three.length);
    expect(many.length).toBe(5);
  });

  test("folding a number and folding a tensor of it agree", async () => {
    const k = random.key(8);
    const expected = String(await random.fold(k, 11).data());
    expect(String(await random.fold(k, full([], 11, { dtype: "i32" })).data())).toBe(expected);
    expect(String(await random.fold(k, full([], 11, { dtype: "u32" })).data())).toBe(expected);
  });

  test("what is folded in is data: graphs of two steps differ in the values of full nodes alone", () => {
    const structure = (place: number): string[] =>
      topologicalOrder([random.fold(random.key(0), place).node]).map((node) =>
        node.op === "full" ? "full" : `${node.op} ${JSON.stringify(node.attrs)}`,
      );
    expect(structure(1)).toEqual(structure(2));
  });

  test("folding refuses places outside u32", () => {
    expect(() => random.fold(random.key(0), -1)).toThrow(ConfigError);
    expect(() => random.fold(random.key(0), zeros([2]))).toThrow("integer scalar");
  });

  test("anything but u32[2] is refused as a key", () => {
    expect(() => random.normal(zeros([2]) as never, [3])).toThrow("a key is u32[2]");
    expect(() => random.split(random.bits(random.key(0), [3]))).toThrow("a key is u32[2]");
    expect(() => random.split(random.key(0), 0)).toThrow("a positive integer, got 0");
  });
});

describe("distributions", () => {
  const n = 20_000;

  test.each(["f32", "f64"] as const)("uniform in %s lies in [0, 1) and passes Kolmogorov-Smirnov", async (dtype) => {
    const data = await random.uniform(random.key(1), [n], { dtype }).data();
    expect(Math.min(...data)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...data)).toBeLessThan(1);
    expect(ksDistance(data, (x) => x)).toBeLessThan(1.95);
  });

  test("uniform is the top 24 bits in f32, and 53 bits of two words in f64", async () => {
    const k = random.key(2);
    const words = await random.bits(k, [6]).data();
    expect([...(await random.uniform(k, [6]).data())]).toEqual(Array.from(words, (w) => (w >>> 8) / 2 ** 24));
    const expected = [0, 1, 2].map((i) => ((words[2 * i] >>> 5) * 2 ** 26 + (words[2 * i + 1] >>> 6)) / 2 ** 53);
    expect([...(await random.uniform(k, [3], { dtype: "f64" }).data())]).toEqual(expected);
  });

  test("uniform takes an interval", async () => {
    const data = await random.uniform(random.key(1), [n], { min: -3, max: 5 }).data();
    expect(ksDistance(data, (x) => (x + 3) / 8)).toBeLessThan(1.95);
  });

  test.each(["f32", "f64"] as const)("normal in %s passes Kolmogorov-Smirnov and has the moments", async (dtype) => {
    const data = await random.normal(random.key(3), [n], { dtype }).data();
    expect(ksDistance(data, normalCdfBySimpson)).toBeLessThan(1.95);
    expect(Math.abs(moment(data, 1))).toBeLessThan(4 / Math.sqrt(n));
    expect(Math.abs(moment(data, 2) - 1)).toBeLessThan(4 * Math.sqrt(2 / n));
    expect(Math.abs(moment(data, 4) - 3)).toBeLessThan(4 * Math.sqrt(96 / n));
  });

  test("normal takes a mean and a standard deviation", async () => {
    const k = random.key(3);
    const [plain, moved] = await Promise.all(
      [random.normal(k, [9]), random.normal(k, [9], { mean: 2, std: 3 })].map((x) => x.data()),
    );
    plain.forEach((z, i) => expect(moved[i]).toBeCloseTo(2 + 3 * z, 5));
  });

  test("truncatedNormal stays inside and is the normal given the interval", async () => {
    for (const [lower, upper] of [
      [-2, 2],
      [1, 3],
      [-Infinity, -1.5],
      [4, Infinity],
    ]) {
      const data = await random.truncatedNormal(random.key(5), [n], { lower, upper }).data();
      expect(Math.min(...data)).toBeGreaterThanOrEqual(lower);
      expect(Math.max(...data)).toBeLessThanOrEqual(upper);
      const tail = (x: number): number => (lower > 0 ? 1 - normalCdfBySimpson(x) : normalCdfBySimpson(x));
      const [low, high] = [tail(Math.max(lower, -12)), tail(Math.min(upper, 12))];
      expect(ksDistance(data, (x) => (tail(x) - low) / (high - low))).toBeLessThan(1.95);
    }
  });

  test("truncatedNormal stays inside an interval of a few rounding errors", async () => {
    const [lower, upper] = [Math.fround(0.3), Math.fround(0.3000004)];
    const data = await random.truncatedNormal(random.key(5), [1000], { lower, upper }).data();
    expect(Math.min(...data)).toBeGreaterThanOrEqual(lower);
    expect(Math.max(...data)).toBeLessThanOrEqual(upper);
  });

  test("truncatedNormal refuses an empty or unreachable interval", () => {
    expect(() => random.truncatedNormal(random.key(0), [1], { lower: 2, upper: 1 })).toThrow(ConfigError);
    expect(() => random.truncatedNormal(random.key(0), [1], { lower: 30, upper: 40 })).toThrow(ConfigError);
  });

  test("gumbel passes Kolmogorov-Smirnov", async () => {
    for (const dtype of ["f32", "f64"] as const) {
      const data = await random.gumbel(random.key(6), [n], { dtype }).data();
      expect(ksDistance(data, (x) => Math.exp(-Math.exp(-x)))).toBeLessThan(1.95);
    }
  });

  test("randint fills its range evenly, also one that does not divide 2^32", async () => {
    const data = await random.randint(random.key(7), [n], { min: -3, max: 4 }).data();
    const counts = Array.from({ length: 7 }, (_, i) => data.filter((x) => x === i - 3).length);
    expect(counts.reduce((a, b) => a + b)).toBe(n);
    expect(chiSquareDeviation(counts, new Array<number>(7).fill(n / 7))).toBeLessThan(4);
  });

  test("randint scales 64 bits to the range exactly", async () => {
    const k = random.key(9);
    const words = await random.bits(k, [200]).data();
    for (const [min, max] of [
      [0, 2 ** 31],
      [-(2 ** 31), 0],
      [-5, 2 ** 30 + 12_345],
      [0, 65_537],
      [3, 4],
    ]) {
      const data = await random.randint(k, [100], { min, max }).data();
      const expected = Array.from({ length: 100 }, (_, i) => {
        const bits = (BigInt(words[2 * i]) << 32n) | BigInt(words[2 * i + 1]);
        return Number((bits * BigInt(max - min)) >> 64n) + min;
      });
      expect([...data]).toEqual(expected);
    }
  });

  test.each([
    [0, 0],
    [0.5, 3],
    [-(2 ** 31), 1],
    [0, 2 ** 31 + 1],
  ])("randint refuses [%d, %d)", (min, max) => {
    expect(() => random.randint(random.key(0), [1], { min, max })).toThrow(ConfigError);
  });

  test("bernoulli is true with its probability, a number or a tensor", async () => {
    const data = await random.bernoulli(random.key(2), [n], { p: 0.3 }).data();
    expect(Math.abs(mean(data) - 0.3)).toBeLessThan(4 * Math.sqrt(0.21 / n));
    const p = tensor([0, 1, 0.5]);
    const columns = random.bernoulli(random.key(2), [n, 3], { p }).cast("f32").mean(0);
    const [never, always, half] = await columns.data();
    expect([never, always]).toEqual([0, 1]);
    expect(Math.abs(half - 0.5)).toBeLessThan(4 * Math.sqrt(0.25 / n));
  });

  test("categorical draws in proportion to exp(logits) and never what is masked", async () => {
    const logits = tensor([0, Math.log(2), -Infinity, Math.log(3)])
      .expandDims(1)
      .broadcastTo([4, n]);
    const data = await random.categorical(random.key(3), logits, 0).data();
    const counts = [0, 1, 2, 3].map((c) => data.filter((x) => x === c).length);
    expect(counts[2]).toBe(0);
    const expected = [n / 6, n / 3, n / 2];
    expect(chiSquareDeviation(counts.toSpliced(2, 1), expected)).toBeLessThan(4);
  });

  test.each([0, 1, 2, 17, 4000])("permutation of %d holds each integer once", async (size) => {
    const data = await random.permutation(random.key(1), size).data();
    expect([...data].toSorted((a, b) => a - b)).toEqual(Array.from({ length: size }, (_, i) => i));
  });

  test("a long permutation is the order of 64-bit words, so that ties of the upper word do not favour low indices", async () => {
    const size = 3000;
    const words = await random.bits(random.key(1), [size, 2]).data();
    const pair = (i: number): bigint => (BigInt(words[2 * i]) << 32n) | BigInt(words[2 * i + 1]);
    const expected = Array.from({ length: size }, (_, i) => i).toSorted((a, b) => (pair(a) < pair(b) ? -1 : 1));
    expect([...(await random.permutation(random.key(1), size).data())]).toEqual(expected);
  });

  test("permutation of a tensor moves whole rows", async () => {
    const k = random.key(2);
    const rows = tensor([
      [0, 1],
      [2, 3],
      [4, 5],
    ]);
    const order = await random.permutation(k, 3).data();
    expect(await random.permutation(k, rows).toArray()).toEqual(Array.from(order, (i) => [2 * i, 2 * i + 1]));
  });

  test("all 24 permutations of 4 are equally likely", async () => {
    const counts = new Map<string, number>();
    const draws = await Promise.all(
      random.split(random.key(12), 2400 as number).map((k) => random.permutation(k, 4).data()),
    );
    for (const draw of draws) counts.set(String(draw), (counts.get(String(draw)) ?? 0) + 1);
    expect(counts.size).toBe(24);
    expect(chiSquareDeviation([...counts.values()], new Array<number>(24).fill(100))).toBeLessThan(4);
  });

  test("tensors without elements can be drawn", async () => {
    const k = random.key(0);
    const draws = [
      random.normal(k, [0, 3]),
      random.uniform(k, [2, 0], { dtype: "f64" }),
      random.randint(k, [0], { max: 5 }),
    ];
    for (const draw of draws) expect((await draw.data()).length).toBe(0);
  });
});

describe("the normal quantile", () => {
  test("it inverts the distribution function from the centre to the end of the tail", async () => {
    const { normalQuantile } = await import("../../src/functions/normalQuantile.ts");
    const { normalCdf } = await import("../../src/special.ts");
    for (const [dtype, deepest, tolerance] of [
      ["f32", 25, 1e-6],
      ["f64", 54, 1e-13],
    ] as const) {
      const tails = Array.from({ length: 400 }, (_, i) => 2 ** (-1 - ((deepest - 1) * i) / 399)).map((r) =>
        dtype === "f32" ? Math.fround(r) : r,
      );
      const r = tensor(tails, { dtype });
      const z = await normalQuantile(r.sub(0.5), r).data();
      tails.forEach((tail, i) => {
        // The distance in z is the distance in probability over the density.
        const density = Math.exp((-z[i] * z[i]) / 2) / Math.sqrt(2 * Math.PI);
        const distance = Math.abs(normalCdf(z[i]) - tail) / density;
        expect(distance).toBeLessThan(tolerance * Math.max(1, Math.abs(z[i])));
      });
    }
  });
});
