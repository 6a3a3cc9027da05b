import { afterAll, expect, test } from "vitest";
import { argsort, assign, devices, init, scatter, shutdown, softmax, tensor, type Tensor } from "../../../src/index.ts";
import { kernelsOf } from "./kernelsOf.ts";

afterAll(() => kernelsOf("hardware"));

/** Numbers whose sums depend on their order; some zeros of either sign and, if asked for, NaN. */
function numbers(seed: number, shape: readonly number[], nan = false): Tensor {
  const size = shape.reduce((a, b) => a * b, 1);
  let state = (seed * 2654435761 + 1) >>> 0;
  const next = (): number => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
  const values = Float32Array.from({ length: size }, () => {
    const kind = next();
    if (kind < 0.1) return kind < 0.05 ? 0 : -0;
    return nan && kind > 0.999 ? NaN : (next() - 0.5) * 2 ** Math.floor(next() * 12);
  });
  return tensor(values, { shape, device: "webgpu" });
}

/** All that invocations fold, scan or sort together, in rows of many lengths. */
function results(): Tensor<"f32" | "i32" | "bool">[] {
  const rows = [2, 5, 16, 65, 257, 1025, 5000].flatMap((length) => {
    const x = numbers(length, [5, length]);
    const gaps = numbers(length, [5, length], true);
    return [
      x.sum(1),
      x.div(8).add(1).prod(1),
      gaps.max(1),
      gaps.min(1),
      gaps.argMax(1),
      x.argMin(1),
      x.gt(100).any(1),
      x.cast("i32").sum(1),
      softmax(x.div(64), 1),
      x.sub(x.max(1, { keepDims: true })).sum(1),
      x.cumsum(1),
      x.cumsum(1, { exclusive: true, reverse: true }),
    ];
  });
  const columns = [3, 9, 40, 300].flatMap((length) => [
    numbers(length, [length, 700]).sum(0),
    numbers(length, [3, length, 17]).max(1),
    numbers(length, [length, 3]).sum(0),
  ]);
  const places = argsort(numbers(1, [9000]))
    .mod(90)
    .cast("i32");
  return [
    ...rows,
    ...columns,
    numbers(2, [100_000]).sum(),
    ...[3, 60, 1000, 3000].map((length) => argsort(numbers(length, [3, length], true).mul(0.01).floor())),
    scatter(numbers(4, [9000, 5]), places, [90, 5]),
    assign(numbers(3, [2, 70, 10])),
  ] as Tensor<"f32" | "i32" | "bool">[];
}

async function run(kernels: Parameters<typeof kernelsOf>[0]) {
  kernelsOf(kernels);
  await init("webgpu");
  const { details } = (await devices()).find(({ name }) => name === "webgpu")!;
  const bits = (await Promise.all(results().map((t) => t.data()))).map(({ buffer }) => Buffer.from(buffer));
  await shutdown();
  return { subgroups: details.subgroups, bits };
}

test("with subgroups of whatever size and without any, folds, scans and sorts give the same bits", async () => {
  const without = await run("hardware without subgroups");
  expect(without.subgroups).toBe("not used");
  for (const kernels of ["hardware", "hardware whose subgroups vary"] as const) {
    const { subgroups, bits } = await run(kernels);
    const differing = bits.flatMap((b, i) => (b.equals(without.bits[i]) ? [] : [i]));
    expect({ kernels, subgroups, differing }).toEqual({ kernels, subgroups, differing: [] });
  }
});
