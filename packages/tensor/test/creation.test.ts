import { expect, test } from "vitest";
import { init, tensor } from "../src/index.ts";

await init("cpu");

test("a typed array of whatever numbers becomes the dtype that is named", async () => {
  const numbers = [0, 5, 127];
  for (const kind of [Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Float64Array])
    for (const dtype of ["f32", "i32"] as const)
      expect([...(await tensor(kind.from(numbers), { dtype }).data())]).toEqual(numbers);
});

test("a Uint8Array of 0 and 1 is bool, as data() gives them", async () => {
  const flags = tensor([true, false]);
  const again = tensor(await flags.data());
  expect(again.dtype).toBe("bool");
  expect(await again.toArray()).toEqual([true, false]);
});
