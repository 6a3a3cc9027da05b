import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  DeviceError,
  devices,
  groupedMatmul,
  init,
  scatter,
  shutdown,
  softmax,
  tensor,
  type DeviceName,
  type Tensor,
} from "../../../src/index.ts";
import { kernelsOf } from "./kernelsOf.ts";
import { data, difference } from "./largeCases.ts";

await init("webgpu");
const { dtypes } = (await devices()).find(({ name }) => name === "webgpu")!;
const has = dtypes.includes("f16");
afterAll(() => shutdown());

const half = (device: DeviceName, seed: number, ...shape: number[]): Tensor =>
  tensor(
    data(
      seed,
      shape.reduce((a, b) => a * b),
    ),
    { shape, device, dtype: "f16" },
  );

test.skipIf(has)("an adapter without f16 says so, naming the op", async () => {
  const x = half("webgpu", 1, 3);
  await expect(x.add(1).data()).rejects.toThrow(DeviceError);
  await expect(x.add(1).data()).rejects.toThrow(/^add: webgpu: this adapter has no f16 .*; cast to f32$/);
  await expect(tensor([1], { device: "webgpu" }).cast("f16").cast("f32").data()).rejects.toThrow(/no f16/);
});

const repeated = Int32Array.from({ length: 500 }, (_, i) => (i * 7) % 60);

/** What is rounded once is off by half a unit at most; a unit more for the order of sums. */
const unit = 2 ** -10;

describe.runIf(has).each(["hardware", "software"] as const)("in f16, by the kernels for %s", (adapter) => {
  beforeAll(async () => {
    kernelsOf(adapter);
    await shutdown();
    await init("webgpu");
  });

  const cases: readonly (readonly [string, (device: DeviceName) => Tensor])[] = [
    ["an odd number of elements, there and back", (d) => half(d, 1, 257)],
    ["a product in large tiles", (d) => half(d, 1, 150, 130).matmul(half(d, 2, 130, 170))],
    [
      "a product in vectors, with an epilogue",
      (d) =>
        half(d, 1, 256, 64)
          .matmul(half(d, 2, 64, 256))
          .add(1)
          .relu(),
    ],
    [
      "a product of few tiles and a long k",
      (d) =>
        half(d, 1, 16, 4096)
          .matmul(half(d, 2, 4096, 16))
          .mul(1 / 64),
    ],
    [
      "a grouped product",
      (d) =>
        groupedMatmul(
          half(d, 1, 96, 40),
          half(d, 2, 4, 40, 24),
          tensor([0, 10, 10, 70, 96], { dtype: "i32", device: d }) as Tensor<"i32">,
        ),
    ],
    ["rows reduced", (d) => softmax(half(d, 1, 33, 700).mul(8))],
    ["a long sum, in pieces", (d) => half(d, 1, 4, 30_000).add(1).sum(1)],
    [
      "a running sum",
      (d) =>
        half(d, 1, 5, 1500)
          .cumsum(1)
          .mul(1 / 16),
    ],
    [
      "a sum of duplicates",
      (d) => scatter(half(d, 1, 500, 40), tensor(repeated, { device: d }) as Tensor<"i32">, [60, 40]),
    ],
    [
      "casts that are fused away",
      (d) =>
        half(d, 1, 300)
          .cast("f32")
          .mul(1 / 3)
          .cast("f16")
          .cast("f32")
          .mul(3)
          .cast("f16"),
    ],
  ];

  test.each(cases)("%s is what the reference computes, and the same bits twice", async (_, make) => {
    const got = await make("webgpu").data();
    expect(difference(got, await make("cpu").data(), unit)).toBeUndefined();
    expect(difference(await make("webgpu").data(), got, 0)).toBeUndefined();
  });

  test("sums are held in 32 bits: 4,096 ones are 4,096, where a total in 16 would stop at 2,048", async () => {
    const ones = tensor(new Float32Array(4096).fill(1), { device: "webgpu", dtype: "f16" });
    expect(await ones.sum().item()).toBe(4096);
    expect(
      await ones
        .reshape([1, 4096])
        .matmul(ones.reshape([4096, 1]))
        .item(),
    ).toBe(4096);
  });

  test("what is beyond 65,504 is infinite, step by step even where steps are fused", async () => {
    const x = tensor([60000, -60000], { device: "webgpu", dtype: "f16" });
    expect([...(await x.add(x).mul(0.25).data())]).toEqual([Infinity, -Infinity]);
  });

  test.each<readonly [string, (x: Tensor) => Tensor]>([
    ["a running sum", (x) => x.cumsum(0)],
    ["a running product", (x) => x.cumprod(0)],
    [
      "a sum of duplicates",
      (x) => scatter(x, tensor([0, 0, 0, 0], { device: x.device, dtype: "i32" }) as Tensor<"i32">, [4]),
    ],
    ["a product", (x) => x.reshape([4, 1]).matmul(x.reshape([1, 4]))],
    [
      "a grouped product",
      (x) =>
        groupedMatmul(
          x.reshape([4, 1]),
          x.reshape([1, 1, 4]),
          tensor([0, 4], { device: x.device, dtype: "i32" }) as Tensor<"i32">,
        ),
    ],
  ])("what is beyond 65,504 is infinite in %s", async (_, make) => {
    for (const value of [60000, -60000]) {
      const x = (device: DeviceName): Tensor => tensor(new Float32Array(4).fill(value), { device, dtype: "f16" });
      expect([...(await make(x("webgpu")).data())]).toEqual([...(await make(x("cpu")).data())]);
    }
  });
});
