import { afterAll, beforeAll, expect, test } from "vitest";
import {
  devices,
  gather,
  groupedMatmul,
  init,
  shutdown,
  tensor,
  type DeviceName,
  type Tensor,
} from "../../../src/index.ts";
import { data, difference } from "./largeCases.ts";

/** The code of every kernel that was compiled. */
const codes: string[] = [];

beforeAll(async () => {
  const { globals } = (await import("webgpu")) as unknown as { globals: { GPUDevice: { prototype: GPUDevice } } };
  const { prototype } = globals.GPUDevice;
  // oxlint-disable-next-line typescript/unbound-method -- called on the device below
  const original = prototype.createShaderModule;
  prototype.createShaderModule = function (this: GPUDevice, descriptor: GPUShaderModuleDescriptor) {
    codes.push(descriptor.code);
    return original.call(this, descriptor);
  };
  await init("webgpu");
});
afterAll(() => shutdown());

const noHalves = "the adapter has no f16";

async function details() {
  const list = await devices();
  return list.find(({ name }) => name === "webgpu")!;
}

/** Whole numbers from -4 to 3: all sums of their products are exact in f32, and those of the tests in f16. */
const whole = (device: DeviceName, seed: number, ...shape: number[]): Tensor => {
  const size = shape.reduce((a, b) => a * b, 1);
  const values = data(seed, size).map((x) => Math.floor(x * 4));
  return tensor(values, { shape, device }).cast("f16");
};

const integers = (device: DeviceName, values: readonly number[]): Tensor<"i32"> =>
  tensor(Int32Array.from(values), { device }) as Tensor<"i32">;

const products: readonly (readonly [string, (d: DeviceName) => Tensor])[] = [
  ["whole tiles", (d) => whole(d, 1, 128, 32).matmul(whole(d, 2, 32, 64))],
  ["ragged edges", (d) => whole(d, 1, 70, 19).matmul(whole(d, 2, 19, 131))],
  ["a batch", (d) => whole(d, 1, 3, 20, 37).matmul(whole(d, 2, 3, 37, 20))],
  [
    "transposed operands",
    (d) =>
      whole(d, 1, 44, 90)
        .transpose()
        .matmul(whole(d, 2, 71, 44).transpose()),
  ],
  ["few rows", (d) => whole(d, 1, 5, 40).matmul(whole(d, 2, 40, 70))],
  [
    "a long k in pieces",
    (d) =>
      whole(d, 1, 40, 2100)
        .matmul(whole(d, 2, 2100, 24))
        .mul(0.25),
  ],
  [
    "an epilogue",
    (d) =>
      whole(d, 1, 80, 33)
        .matmul(whole(d, 2, 33, 66))
        .add(whole(d, 3, 66))
        .relu(),
  ],
  [
    "a result in f32",
    (d) =>
      whole(d, 1, 80, 33)
        .matmul(whole(d, 2, 33, 66))
        .cast("f32")
        .div(1024),
  ],
  [
    "chosen rows",
    (d) => {
      const rows = integers(
        d,
        Array.from({ length: 90 }, (_, i) => (i * 37) % 50),
      );
      return gather(whole(d, 1, 50, 40), rows, 0).matmul(whole(d, 2, 40, 65));
    },
  ],
  [
    "groups of rows, one empty",
    (d) => groupedMatmul(whole(d, 1, 200, 24), whole(d, 2, 4, 24, 70), integers(d, [0, 65, 65, 140, 190])),
  ],
  [
    "groups contracted",
    (d) =>
      groupedMatmul(whole(d, 1, 150, 40), whole(d, 2, 150, 70), integers(d, [0, 17, 17, 120, 150]), {
        mode: "contract",
      }),
  ],
];

test.for(products)("a product of f16 is exact where its sums are: %s", async ([, make], { skip }) => {
  skip(!(await details()).dtypes.includes("f16"), noHalves);
  const got = await make("webgpu").data();
  expect(difference(got, await make("cpu").data(), 0)).toBeUndefined();
});

test("a product of f16 whose sums round is close to the reference, and the same bits twice", async ({ skip }) => {
  skip(!(await details()).dtypes.includes("f16"), noHalves);
  const make = (d: DeviceName): Tensor => {
    const [a, b] = [whole(d, 1, 90, 200), whole(d, 2, 200, 70)];
    return a.div(3).matmul(b.div(7)).cast("f32");
  };
  const got = await make("webgpu").data();
  expect(difference(got, await make("cpu").data(), 1e-3)).toBeUndefined();
  expect(difference(await make("webgpu").data(), got, 0)).toBeUndefined();
});

test("subgroups multiply matrices of f16 where the adapter says so, and of nothing else", async ({ skip }) => {
  const { dtypes, details: said } = await details();
  skip(!dtypes.includes("f16"), noHalves);
  const multiplied = async (x: Tensor): Promise<boolean> => {
    codes.length = 0;
    await x.matmul(x).tanh().data();
    return codes.some((code) => code.includes("subgroupMatrixMultiplyAccumulate"));
  };
  const x = whole("webgpu", 1, 72, 72);
  expect(await multiplied(x)).toBe(said.subgroupMatrices !== undefined);
  expect(await multiplied(x.cast("f32"))).toBe(false);
});
