import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import {
  memory,
  profile,
  realize,
  shutdown,
  softmax,
  tensor,
  type Tensor,
  type TypedArray,
} from "../../../src/index.ts";
import { build, steps } from "../../schedule/randomGraph.ts";
import { kernelsOf } from "./kernelsOf.ts";

const numRuns = process.env.SWITCHYARD_DEEP ? 1000 : process.env.SWITCHYARD_GPU_SUBSET ? 25 : 200;

afterAll(() => shutdown());

const close = (a: TypedArray, b: TypedArray): boolean =>
  a.length === b.length && a.every((x, i) => x === b[i] || Math.abs(x - b[i]) <= 1e-4 * (1 + Math.abs(b[i])));

/** The last tensor of a program and a few others, read together. */
function results(
  program: Parameters<typeof build>[0],
  seed: number,
  more: number,
  device: "cpu" | "webgpu",
): Promise<TypedArray[]> {
  const made = build(program, seed, device);
  return Promise.all([made[made.length - 1], ...made.slice(5, 5 + more)].map((t) => t.data()));
}

test("a donated parameter is updated in place, step after step, and memory stays flat", async () => {
  const size = 10_000;
  let p: Tensor = await realize(tensor(new Float32Array(size).fill(1), { device: "webgpu" }));
  let m: Tensor = await realize(tensor(new Float32Array(size), { device: "webgpu" }));
  let expected = { p: 1, m: 0 };
  const bytes: number[] = [];
  for (let step = 0; step < 50; step++) {
    const rate = 0.1 / (step + 1);
    const m2 = m.mul(0.5).add(p.mul(0.25));
    const p2 = p.sub(m2.mul(rate));
    await realize([p2, m2], { donate: [p, m] });
    [p, m] = [p2, m2];
    expected = { m: expected.m * 0.5 + expected.p * 0.25, p: expected.p };
    expected.p -= expected.m * rate;
    bytes.push(memory("webgpu").liveBytes + memory("webgpu").poolBytes);
  }
  expect((await p.data())[size - 1]).toBeCloseTo(expected.p, 5);
  expect(new Set(bytes.slice(2)).size).toBe(1);
});

test.each(["software", "hardware"] as const)(
  "random graphs compute what the reference computes by the kernels for %s, and the same bits twice",
  async (adapter) => {
    await shutdown();
    kernelsOf(adapter);
    await fc.assert(
      fc.asyncProperty(steps(20), fc.nat(1000), fc.nat(3), async (program, seed, more) => {
        const wanted = await results(program, seed, more, "cpu");
        const got = await results(program, seed, more, "webgpu");
        got.forEach((g, i) =>
          expect(close(g, wanted[i]), `root ${i}: ${g.join()} is not ${wanted[i].join()}`).toBe(true),
        );
        expect(await results(program, seed, more, "webgpu")).toEqual(got);
      }),
      { numRuns },
    );
  },
);

test("a profile names the kernels that ran, with the time of each and the work it did", async () => {
  const x = await realize(tensor(new Float32Array(128 * 128).fill(0.5), { shape: [128, 128], device: "webgpu" }));
  const { result, kernels } = await profile(() => softmax(x.matmul(x), -1).data());
  expect(result[5]).toBeCloseTo(1 / 128, 6);
  const product = kernels.find(({ name }) => name.startsWith("matmul"))!;
  expect(product.flops).toBeGreaterThanOrEqual(2 * 128 ** 3);
  expect(kernels.every(({ calls, ms }) => calls === 1 && ms >= 0 && ms < 60_000)).toBe(true);
});

test("a product whose donated operand is spent does not write over what it reads", async () => {
  const x = await realize(
    tensor(
      Float32Array.from({ length: 64 * 64 }, (_, i) => (i % 7) - 3),
      { shape: [64, 64], device: "webgpu" },
    ),
  );
  const wanted = await x.to("cpu").matmul(x.to("cpu")).data();
  const y = x.matmul(x);
  await realize(y, { donate: x });
  expect(await y.data()).toEqual(wanted);
});

test("graphs asked for before the kernels of an earlier one are compiled run in order", async () => {
  const x = await realize(tensor([1, 2, 3], { device: "webgpu" }));
  const reads: Promise<TypedArray>[] = [];
  for (let i = 0; i < 4; i++) {
    reads.push(
      x
        .add(i)
        .pow(1 + i)
        .data(),
    );
    reads.push(tensor([i, i], { device: "webgpu" }).mul(2).data());
    await Promise.resolve();
  }
  const got = await Promise.all(reads);
  for (let i = 0; i < 4; i++) {
    got[2 * i].forEach((y, j) => expect(y).toBeCloseTo((j + 1 + i) ** (1 + i), 3));
    expect([...got[2 * i + 1]]).toEqual([2 * i, 2 * i]);
  }
});
