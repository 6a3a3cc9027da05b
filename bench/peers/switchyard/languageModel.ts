import { tensor, type Tensor } from "@switchyard/tensor";
import { adamw, clipByGlobalNorm, treeFlatten, treePaths, treeUnflatten } from "@switchyard/autograd";
import { softmaxTopK, train, transformer, type Model, type TextBatch } from "@switchyard/moe";
import { drawIntegers } from "../../runner/random.ts";
import type { StepSizes, TaskMakers } from "../../tasks.ts";
import { languageModelParameters, streamOfBatch } from "../parameters.ts";
import { drawn } from "./ready.ts";

export const languageModel = {
  step(sizes, seed) {
    const { batch, context, vocab } = sizes;
    const data = (step: number): TextBatch => {
      const ids = drawIntegers(batch * (context + 1), seed, streamOfBatch(step), vocab);
      const text = tensor(ids, { shape: [batch, context + 1] });
      return { tokens: text.slice([], [0, context]), targets: text.slice([], [1, context + 1]) };
    };
    const start = () =>
      train({ model: modelOf(sizes, seed), data, optimizer: clipped, steps: 1_000_000, seed })[Symbol.asyncIterator]();
    const run = start();
    return {
      run: async () => void (await run.next()),
      async outputs() {
        const losses: number[] = [];
        for await (const { loss } of train({ model: modelOf(sizes, seed), data, optimizer: clipped, steps: 3, seed }))
          losses.push(loss);
        return { losses: Float32Array.from(losses) };
      },
      end: () => void run.return?.(),
    };
  },
} satisfies TaskMakers;

type Loss = { readonly loss: Tensor };

function modelOf(sizes: StepSizes, seed: number): Model<unknown, TextBatch, Loss> {
  const { experts, k, router, batch: _, ...rest } = sizes;
  if (router === "noisy") {
    const model = transformer({ ...rest, moe: { experts, k } });
    return { init: (key) => model.init(key), loss: (p, b, o) => model.loss(p as ReturnType<typeof model.init>, b, o) };
  }
  const model = transformer({ ...rest, moe: { experts, k, bias: false, router: softmaxTopK({ k }) } });
  return {
    init: (key) => withDrawn(model.init(key), sizes, seed),
    loss: (p, b, o) => model.loss(p as ReturnType<typeof model.init>, b, o),
  };
}

/** The parameters that all contestants begin with. */
function withDrawn<P>(params: P, sizes: StepSizes, seed: number): P {
  const list = languageModelParameters(sizes);
  const [leaves, structure] = treeFlatten(params);
  const paths = treePaths(params);
  const replaced = leaves.map((leaf, i) => {
    const at = list.findIndex(({ name }) => name === paths[i]);
    return at < 0 ? leaf : drawn(list[at].shape, seed, at, list[at].scale);
  });
  return treeUnflatten(structure, replaced) as P;
}

const plain = adamw({
  learningRate: 1e-3,
  weightDecay: 0.1,
  each: (_, t) => (t.ndim < 2 ? { weightDecay: 0 } : undefined),
});

/** The demo's optimizer: gradients of a global norm of at most 1, decay for matrices alone. */
const clipped: typeof plain = {
  init: (params) => plain.init(params),
  update: (params, grads, state) => plain.update(params, clipByGlobalNorm(grads, 1), state),
};
