import { init, tensor, zeros } from "@switchyard/tensor";
import { updateBias } from "@switchyard/moe";
import { beforeAll, describe, expect, test } from "vitest";

beforeAll(() => init("cpu"));

describe("updateBias", () => {
  const bias = tensor([0.5, 0, -0.5, 0], { dtype: "f64" });
  const counts = tensor([9, 1, 2, 4], { dtype: "i32" }); // mean 4

  test("raises the bias of experts below the mean and lowers that of those above, by the speed", async () => {
    const next = [...(await updateBias(bias, counts, { speed: 0.1 }).data())];
    [0.4, 0.1, -0.4, 0].forEach((b, i) => expect(next[i]).toBeCloseTo(b, 12));
  });

  test("centred, the moves add up to zero", async () => {
    const next = [...(await updateBias(bias, counts, { speed: 0.1, centred: true }).data())];
    [0.375, 0.075, -0.425, -0.025].forEach((b, i) => expect(next[i]).toBeCloseTo(b, 12));
  });

  test("balanced counts, and no tokens at all, move nothing", async () => {
    for (const even of [3, 0])
      expect([...(await updateBias(zeros([3]), tensor([even, even, even], { dtype: "i32" })).data())]).toEqual([
        0, 0, 0,
      ]);
  });
});
