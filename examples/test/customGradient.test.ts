import { test, fc } from "@fast-check/vitest";
import { where, type Tensor } from "@switchyard/tensor";
import { checkGrads, grad } from "@switchyard/autograd";
import { acrossDevices, awayFromKinks, tensorOf } from "@switchyard/autograd/testing";
import { routing } from "@switchyard/moe/testing";
import { switchLoss } from "@switchyard/moe";
import { squaredRelu } from "../customGradient.ts";

const shape = [fc.integer({ min: 0, max: 5 }), fc.integer({ min: 1, max: 4 })];
const n = fc.integer({ min: 1, max: 64 });
const devices = ["cpu", "wasm"] as const;

test.prop([awayFromKinks(tensorOf({ shape }), [0])])("the gradient of squaredRelu is 2 relu(x)", (x) =>
  checkGrads(squaredRelu, [x]),
);

test.prop([tensorOf({ shape })])("where has a gradient on both branches", (x) =>
  checkGrads((x: Tensor) => where(x.gt(0), x.square(), x.mul(3)), [x]),
);

test.prop([tensorOf({ shape: [n, 8] })])("squaredRelu and its gradient agree on every device", (x) =>
  acrossDevices((x) => [squaredRelu(x), grad((x: Tensor) => squaredRelu(x).sum())(x)], [x], { devices, ulps: 4 }),
);

test.prop([routing({ tokens: 12, experts: 4, k: 2 })])("the Switch loss agrees on every device", (r) =>
  acrossDevices((r) => switchLoss(r), [r], { devices }),
);
