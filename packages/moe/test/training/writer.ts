// A run whose second checkpoint is larger than the first: the optimizer's state grows.
import { init, tensor, zeros, type Key, type Tensor } from "@switchyard/tensor";
import { sgd, type Optimizer } from "@switchyard/autograd";
import { train } from "@switchyard/moe";

await init("cpu");
const plain = sgd({ learningRate: 1 });
const growing: Optimizer<object> = {
  init: () => ({}),
  update: (params, grads, state) => [
    plain.update(params, grads, plain.init(params))[0],
    { more: zeros(["more" in state ? 1 << 16 : 1]) },
  ],
};
await train({
  model: {
    init: (_key: Key) => ({ w: zeros([1]) }),
    loss: (p: { w: Tensor }, x: Tensor) => ({ loss: p.w.sub(x).square().sum().mul(0.5) }),
  },
  data: () => tensor([1]),
  optimizer: growing,
  steps: 3,
  checkpoint: { dir: process.argv[2], every: 1 },
}).finish();
