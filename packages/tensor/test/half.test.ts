import fc from "fast-check";
import { expect, test } from "vitest";
import { DeviceError, init, random, tensor } from "../src/index.ts";
import { floatOfHalf, halfOfFloat, roundToHalf } from "../src/half.ts";

await init("cpu");

/** All finite halves, ascending. */
const halves = Array.from({ length: 0x7c00 }, (_, bits) => floatOfHalf(bits));

test("the bits of every half come back from the number they stand for", () => {
  for (let bits = 0; bits < 0x10000; bits++) {
    const value = floatOfHalf(bits);
    if (Number.isNaN(value)) expect(Number.isNaN(floatOfHalf(halfOfFloat(value)))).toBe(true);
    else if (halfOfFloat(value) !== bits)
      expect.fail(`0x${bits.toString(16)} became 0x${halfOfFloat(value).toString(16)}`);
  }
});

test("a number becomes the nearest half, ties to even; from half-way past the largest on, infinity", () => {
  const near = fc.integer({ min: 0, max: 0x7bff }).chain((bits) => {
    const [low, high] = [halves[bits], halves[bits + 1] ?? 65536];
    return fc
      .constantFrom(0, 0.25, 0.5, 0.75, 0.999)
      .map((share) => ({ bits, low, high, x: Math.fround(low + share * (high - low)) }));
  });
  fc.assert(
    fc.property(near, fc.constantFrom(1, -1), ({ bits, low, high, x }, sign) => {
      const middle = (low + high) / 2;
      const up = x > middle || (x === middle && bits % 2 === 1);
      const expected = up ? (high === 65536 ? Infinity : high) : low;
      expect(roundToHalf(sign * x)).toBe(sign * expected);
    }),
    { numRuns: 5000 },
  );
  expect([70000, -70000, Infinity, NaN].map(roundToHalf)).toEqual([Infinity, -Infinity, Infinity, NaN]);
});

test("on cpu every operation is rounded to f16, and sums are not rounded before they are whole", async () => {
  const x = tensor([1, 2 ** -11, 65504], { dtype: "f16" });
  expect([...(await x.add(x).data())]).toEqual([2, 2 ** -10, Infinity]);
  expect([...(await x.add(2 ** -11).data())]).toEqual([1, 2 ** -10, 65504]);
  expect(await tensor(new Float32Array(4096).fill(1), { dtype: "f16" }).sum().item()).toBe(4096);
});

test("wasm has no f16 and says so where the node is made", () => {
  expect(() => tensor([1], { dtype: "f16", device: "wasm" })).toThrow(DeviceError);
  expect(() => tensor([1], { dtype: "f16", device: "wasm" })).toThrow(/^tensor: wasm has no f16 .*cast to f32/);
});

test("draws in f16 are those in f32, rounded, but for uniform ones, which stay below 1", async () => {
  const k = (): ReturnType<typeof random.key> => random.key(3, { device: "cpu" });
  for (const draw of [random.normal, random.truncatedNormal, random.gumbel] as const) {
    const wide = await draw(k(), [100]).data();
    expect([...(await draw(k(), [100], { dtype: "f16" }).data())]).toEqual(Array.from(wide, roundToHalf));
  }
  const uniform = await random.uniform(k(), [4096], { dtype: "f16" }).data();
  expect(Math.max(...uniform)).toBeLessThan(1);
  expect(new Set(uniform).size).toBeGreaterThan(1000);
});
