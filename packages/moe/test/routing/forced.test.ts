import { ConfigError, init, random, ShapeError, tensor } from "@switchyard/tensor";
import { forced, makeRouting, moe, noisyTopK } from "@switchyard/moe";
import { beforeAll, describe, expect, test } from "vitest";
import { randomTensor } from "../oracle.ts";

beforeAll(() => init("cpu"));

describe("forced", () => {
  test("a layer under a record of itself gives the same output, noise and all", async () => {
    const sizes = { dim: 4, hidden: 6, experts: 3 };
    const layer = moe({ ...sizes, router: noisyTopK({ k: 2 }) });
    const params = layer.init(random.key(0));
    const x = randomTensor(1, [5, 4]).cast("f32");
    const first = layer.apply(params, x, { train: true, key: random.key(1) });
    const replay = moe({ ...sizes, router: forced(first.routing) });
    const again = replay.apply({ experts: params.experts, router: replay.init(random.key(2)).router }, x);
    expect(await again.output.data()).toEqual(await first.output.data());
    expect(again.routing).toBe(first.routing);
  });

  test("a record that does not fit is refused", () => {
    const record = makeRouting({
      experts: tensor([[0], [1]], { dtype: "i32" }),
      weights: tensor([[1], [1]]),
      expertCount: 2,
    });
    const router = forced(record);
    expect(() => router.init(random.key(0), { dim: 4, experts: 3 })).toThrow(ConfigError);
    expect(() => router.route({}, randomTensor(1, [3, 4]))).toThrow(ShapeError);
    expect(() => router.route({}, randomTensor(1, [2, 4]), { mask: tensor([true, false]) })).toThrow(/without a mask/);
  });
});
