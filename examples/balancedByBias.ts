// One feed-forward network of a model of one's own becomes a mixture, balanced without a loss: after each step the experts that had few tokens get
// easier to choose. The optimizer keeps its hands off that bias. `npm run example examples/balancedByBias.ts`.
import { crossEntropy, init as start, random, type Key, type Tensor } from "@switchyard/tensor";
import { adamw } from "@switchyard/autograd";
import { linear, loadMetrics, moe, sigmoidTopK, train, updateBias, type Routing } from "@switchyard/moe";

const up = linear({ in: 784, out: 128 });
const mixture = moe({ dim: 128, hidden: 256, experts: 8, router: sigmoidTopK({ k: 2 }), activation: "swiglu" });
const out = linear({ in: 128, out: 10 });
const init = (key: Key) => {
  const [a, b, c] = random.split(key, 3);
  return { up: up.init(a), mixture: mixture.init(b), out: out.init(c) };
};
type Params = ReturnType<typeof init>;

export const model = {
  init,
  loss(p: Params, b: { x: Tensor; label: Tensor }) {
    const h = up.apply(p.up, b.x).relu();
    const { output, routing } = mixture.apply(p.mixture, h);
    return { loss: crossEntropy(out.apply(p.out, h.add(output)), b.label), routing };
  },
  afterStep: (p: Params, { routing }: { routing: Routing }): Params => ({
    ...p,
    mixture: {
      ...p.mixture,
      router: { ...p.mixture.router, bias: updateBias(p.mixture.router.bias, routing.counts, { speed: 1e-2 }) },
    },
  }),
};

export const optimizer = adamw({
  learningRate: 1e-3,
  weightDecay: 0.1,
  each: (path) => (path.endsWith("router.bias") ? { frozen: true } : undefined),
});

/** Stands in for images of digits: ten patterns of 28 x 28 pixels, each seen through noise. */
export function patterns(step: number): { x: Tensor; label: Tensor } {
  const [which, noise] = random.split(random.key(step));
  const label = random.randint(which, [64], { max: 10 });
  const pure = random.normal(random.key(1_000_000), [10, 784]).gather(label, 0);
  return { x: pure.add(random.normal(noise, [64, 784]).mul(3)), label };
}

if (import.meta.main) {
  await start("wasm");
  for await (const { step, loss, aux, params } of train({ model, data: patterns, optimizer, steps: 200 })) {
    if (step % 40 !== 39) continue;
    const cv = await loadMetrics(aux.routing.counts).cv.item();
    const bias = await params.mixture.router.bias.data();
    console.log(
      `step ${step + 1}: loss ${loss.toFixed(3)}, CV ${cv.toFixed(2)}, bias ${[...bias].map((b) => b.toFixed(2))}`,
    );
  }
}
