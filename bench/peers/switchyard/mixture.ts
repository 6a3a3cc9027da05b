import { realize, type Tensor } from "@switchyard/tensor";
import { valueAndGrad } from "@switchyard/autograd";
import { experts as expertNetworks, feedForward, moe, softmaxTopK } from "@switchyard/moe";
import type { TaskMakers } from "../../tasks.ts";
import { drawn, taskOf } from "./ready.ts";

export const mixture = {
  moe({ tokens, dim, hidden, experts, k }, seed) {
    const layer = moe({ dim, hidden, experts, router: softmaxTopK({ k }), activation: "swiglu", bias: false });
    const params = {
      x: drawn([tokens, dim], seed, 0),
      layer: {
        router: { gate: drawn([dim, experts], seed, 1, dim ** -0.5) },
        experts: {
          w1: drawn([experts, dim, hidden], seed, 2, dim ** -0.5),
          w3: drawn([experts, dim, hidden], seed, 3, dim ** -0.5),
          w2: drawn([experts, hidden, dim], seed, 4, hidden ** -0.5),
        },
      },
    };
    const ct = drawn([tokens, dim], seed, 5);
    const loss = (p: typeof params): { loss: Tensor; output: Tensor } => {
      const { output } = layer.apply(p.layer, p.x);
      return { loss: output.mul(ct).sum(), output };
    };
    return taskOf(() => {
      const [{ output }, { x, layer: grads }] = valueAndGrad(loss)(params);
      const { w1, w2, w3 } = grads.experts;
      return { y: output, dx: x, dgate: grads.router.gate, dw1: w1, dw3: w3, dw2: w2 };
    });
  },
  async expertsAlone({ tokens, dim, hidden, experts, k }, seed) {
    const networks = expertNetworks({ dim, hidden, experts, activation: "swiglu", bias: false });
    const gate = drawn([dim, experts], seed, 1, dim ** -0.5);
    const routing = softmaxTopK({ k }).route({ gate }, drawn([tokens, dim], seed, 0));
    await realize(routing);
    const params = {
      rows: drawn([tokens * k, dim], seed, 6),
      networks: {
        w1: drawn([experts, dim, hidden], seed, 2, dim ** -0.5),
        w3: drawn([experts, dim, hidden], seed, 3, dim ** -0.5),
        w2: drawn([experts, hidden, dim], seed, 4, hidden ** -0.5),
      },
    };
    const ct = drawn([tokens * k, dim], seed, 7);
    const loss = (p: typeof params): { loss: Tensor; output: Tensor } => {
      const output = networks.apply(p.networks, p.rows, routing);
      return { loss: output.mul(ct).sum(), output };
    };
    return taskOf(() => {
      const [{ output }, { rows, networks: grads }] = valueAndGrad(loss)(params);
      return { y: output, dx: rows, dw1: grads.w1, dw3: grads.w3, dw2: grads.w2 };
    });
  },
  dense({ tokens, dim, hidden }, seed) {
    const layer = feedForward({ dim, hidden, activation: "swiglu", bias: false });
    const params = {
      x: drawn([tokens, dim], seed, 0),
      layer: {
        w1: drawn([dim, hidden], seed, 2, dim ** -0.5),
        w3: drawn([dim, hidden], seed, 3, dim ** -0.5),
        w2: drawn([hidden, dim], seed, 4, hidden ** -0.5),
      },
    };
    const ct = drawn([tokens, dim], seed, 5);
    const loss = (p: typeof params): { loss: Tensor; output: Tensor } => {
      const output = layer.apply(p.layer, p.x);
      return { loss: output.mul(ct).sum(), output };
    };
    return taskOf(() => {
      const [{ output }, { x, layer: grads }] = valueAndGrad(loss)(params);
      return { y: output, dx: x, dw1: grads.w1, dw3: grads.w3, dw2: grads.w2 };
    });
  },
} satisfies TaskMakers;
