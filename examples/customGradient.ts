// A function with a gradient of its own. What holds it to its word is test/customGradient.test.ts.
import type { Tensor } from "@switchyard/tensor";
import { customVjp } from "@switchyard/autograd";

export const squaredRelu = customVjp({
  forward: (x: Tensor) => x.relu().square(),
  backward: (ct, _y, x) => [ct.mul(x.relu().mul(2))],
});
