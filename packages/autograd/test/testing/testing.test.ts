import { init, random, realize, tensor, type DeviceName, type Tensor } from "@switchyard/tensor";
import { grad } from "@switchyard/autograd";
import { acrossDevices, matchers, type TensorMatchers } from "@switchyard/autograd/testing";
import { describe, expect, test } from "vitest";

declare module "vitest" {
  interface Matchers<R extends void | Promise<void> = void | Promise<void>, T = unknown> extends TensorMatchers {}
}

await init("cpu");
expect.extend(matchers);

const message = (check: Promise<unknown>): Promise<string> =>
  check.then(
    () => "passed",
    (error: Error) => error.message,
  );

describe("toEqualTensor", () => {
  test("passes equal elements, NaN and signed zeros among them", async () => {
    await expect(tensor([1, NaN, -0])).toEqualTensor(tensor([1, NaN, 0]));
    await expect(tensor([[1], [2]])).toEqualTensor([[1], [2]]);
    await expect(tensor([1])).not.toEqualTensor([2]);
  });

  test("says where the first difference is and how many there are", async () => {
    const check = expect(
      tensor([
        [1, 2],
        [3, 4],
      ]),
    ).toEqualTensor([
      [1, 0],
      [3, 0],
    ]);
    expect(await message(check)).toContain("2 of 4 elements differ, first at [0,1]: expected 0, got 2");
  });

  test("tells shapes and dtypes apart", async () => {
    expect(await message(expect(tensor([1])).toEqualTensor([[1]]))).toContain("expected f32[1,1], got f32[1]");
    const integer = tensor([1], { dtype: "i32" });
    expect(await message(expect(tensor([1])).toEqualTensor(integer))).toContain("expected i32[1], got f32[1]");
    expect(await message(expect(3).toEqualTensor([3]))).toContain("expected a tensor, got 3");
  });
});

test("toBeCloseToTensor allows the error it is told to", async () => {
  await expect(tensor([100, 0])).toBeCloseToTensor([100.0005, 1e-7]);
  await expect(tensor([100])).not.toBeCloseToTensor([100.1]);
  await expect(tensor([100])).toBeCloseToTensor([101], { rtol: 0.02 });
});

describe("toHaveNoLeaks", () => {
  test("passes a function whose tensors die with it or are returned", async () => {
    await expect(async () => {
      const x = tensor([1, 2, 3]);
      return realize({ g: grad((v: Tensor) => v.square().sum())(x) });
    }).toHaveNoLeaks();
  });

  test("waits for the collection, however long that takes in a heap with much in it", async () => {
    const ballast = Array.from({ length: 1_000_000 }, (_, i) => ({ i, of: [i] }));
    for (let i = 0; i < 8; i++) await expect(() => realize(tensor([1, 2]).add(i))).toHaveNoLeaks();
    expect(ballast).toHaveLength(1_000_000);
  });

  test("fails one that keeps a tensor, naming what made it", async () => {
    const kept: Tensor[] = [];
    const check = expect(async () => void kept.push(await realize(tensor([1]).add(1)))).toHaveNoLeaks();
    expect(await message(check)).toMatch(/1 tensors leaked, among .*add/);
    kept[0].dispose();
  });
});

describe("acrossDevices", () => {
  const x = tensor([0.5, 1, 2]);

  test("passes what agrees, gradients and integers included", () =>
    acrossDevices((v: Tensor) => [v.exp(), grad((w: Tensor) => w.tanh().sum())(v), v.argMax()], [x], {
      devices: ["cpu", "cpu"],
    }));

  test("names the first op that differs", async () => {
    let noise = 0;
    const check = acrossDevices(
      (v: Tensor) =>
        v
          .exp()
          .add(noise++ * 1e-3)
          .sum()
          .mul(2),
      [x],
      { devices: ["cpu", "cpu"] },
    );
    await expect(check).rejects.toThrow(
      /cpu differs from cpu, first in full f32\[3\].*: 3 of 3 elements differ, first at \[0\]/,
    );
  });

  test("takes arguments that are not realized, whose own graphs are not compared", async () => {
    const lazy = random.normal(random.key(1, { device: "cpu" }), [3]);
    await acrossDevices((v: Tensor) => v.exp(), [lazy], { devices: ["cpu", "wasm"] });
  });

  test("a device of an unknown name is told by it", async () => {
    const devices: DeviceName[] = ["cpu", "tpu" as "cpu"];
    await expect(acrossDevices((v: Tensor) => v.exp(), [x], { devices })).rejects.toThrow('unknown device "tpu"');
  });

  test("refuses a function whose graph depends on the device", async () => {
    let calls = 0;
    const check = acrossDevices((v: Tensor) => (calls++ === 0 ? v : v.exp().add(1)), [x], { devices: ["cpu", "cpu"] });
    await expect(check).rejects.toThrow("f wrote 0 operations on one device and 3 on another");
  });
});
