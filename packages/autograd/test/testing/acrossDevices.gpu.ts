import { random, shutdown, softmax, type Tensor } from "@switchyard/tensor";
import { grad } from "@switchyard/autograd";
import { acrossDevices } from "@switchyard/autograd/testing";
import { afterAll, expect, test } from "vitest";

afterAll(() => shutdown());

const devices = ["cpu", "wasm", "webgpu"] as const;
const x = random.normal(random.key(1, { device: "cpu" }), [40, 30]);

test("a function and its gradient agree on all devices", () =>
  acrossDevices(
    (t: Tensor) => {
      const f = (v: Tensor) => softmax(v, -1).matmul(v.transpose()).square().sum();
      return [f(t), grad(f)(t)];
    },
    [x],
    { devices, ulps: 64 },
  ));

test("where rounding may not differ, the first op that rounds is named", async () => {
  const f = (t: Tensor): Tensor => t.abs().add(1).log().mul(2);
  await acrossDevices(f, [x], { devices, ulps: 64 });
  await expect(acrossDevices(f, [x], { devices: ["cpu", "webgpu"], ulps: 0 })).rejects.toThrow(
    /^acrossDevices: webgpu differs from cpu, first in log/,
  );
});
