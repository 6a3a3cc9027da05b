/** Values and gradients beside PyTorch's, which `generate.py` wrote into `reference.json`. */
import { readFile } from "node:fs/promises";
import {
  adafactor,
  adam,
  adamw,
  clipByGlobalNorm,
  globalNorm,
  sgd,
  valueAndGrad,
  type Optimizer,
} from "@switchyard/autograd";
import { crossEntropy, init, layerNorm, rmsNorm, tensor, type Tensor } from "@switchyard/tensor";
import {
  attention,
  importanceLoss,
  loadLoss,
  lstm,
  moe,
  noisyTopK,
  softmaxTopK,
  switchLoss,
  zLoss,
  type Activation,
  type NoisyTopKParams,
  type TokenRouting,
} from "@switchyard/moe";
import { beforeAll, describe, expect, test } from "vitest";

type Nested = number | readonly Nested[];
type Named<T> = { readonly [name: string]: T };

interface Case {
  readonly inputs: Named<Nested>;
  readonly outputs: Named<Nested>;
  readonly grads: Named<Nested>;
}

interface Trajectory {
  readonly start: Nested;
  readonly grads: readonly Nested[];
  /** The parameter after each step. */
  readonly after: readonly Nested[];
}

interface Reference {
  readonly noisyLayer: Case;
  readonly balanceLosses: {
    readonly inputs: Named<Nested>;
    readonly losses: Named<{ readonly loss: number; readonly grads: Named<Nested> }>;
  };
  readonly softmaxLayers: Named<Case>;
  readonly crossEntropy: Case & { readonly masked: Case };
  readonly norms: { readonly layer: Case; readonly rms: Case };
  readonly attention: Case;
  readonly lstm: Case;
  readonly optimizers: Named<Trajectory>;
  readonly clipped: { readonly grads: readonly Nested[]; readonly clipped: readonly Nested[]; readonly norm: number };
}

const reference = JSON.parse(await readFile(new URL("reference.json", import.meta.url), "utf8")) as Reference;

beforeAll(() => init("cpu"));

const exact = (data: Nested): Tensor => tensor(data as number[], { dtype: "f64" });
const exactly = (data: Named<Nested>): Record<string, Tensor> =>
  Object.fromEntries(Object.entries(data).map(([name, x]) => [name, exact(x)]));
const flat = (data: Nested): number[] => (typeof data === "number" ? [data] : data.flatMap(flat));
const indices = (data: Nested): Tensor => tensor(data as number[], { dtype: "i32" });

async function expectClose(name: string, got: Tensor, wanted: Nested, digits = 10): Promise<void> {
  const [values, numbers] = [await got.data(), flat(wanted)];
  const scale = Math.max(1, ...numbers.map(Math.abs));
  const off = numbers.findIndex((x, i) => !(Math.abs(values[i] - x) <= 10 ** -digits * scale));
  if (values.length !== numbers.length || off >= 0)
    expect.fail(
      `${name}[${off}] of ${values.length}: expected ${numbers[off]} of ${numbers.length}, got ${values[off]}`,
    );
}

/** Loss, outputs and gradients by the inputs named in the case. */
async function expectCase(
  { inputs, outputs, grads }: Case,
  f: (inputs: Record<string, Tensor>) => Record<string, Tensor> & { loss: Tensor },
): Promise<void> {
  const params = exactly(Object.fromEntries(Object.keys(grads).map((name) => [name, inputs[name]])));
  const [value, got] = valueAndGrad(f)(params);
  for (const [name, wanted] of Object.entries(outputs)) await expectClose(name, value[name], wanted);
  for (const [name, wanted] of Object.entries(grads)) await expectClose(`the gradient by ${name}`, got[name], wanted);
}

/** The scalar of every element that the script takes gradients of. */
function projected(y: Tensor): Tensor {
  const weights = Array.from({ length: y.size }, (_, i) => Math.cos(i + 1));
  return y.mul(tensor(weights, { shape: y.shape, dtype: "f64" })).sum();
}

const networks = ({ w1, b1, w2, b2, w3 }: Record<string, Tensor>) => ({ w1, b1, w2, b2, ...(w3 && { w3 }) });

describe("PyTorch gives the same numbers and gradients for", () => {
  test("a layer with noisy top-k routing, importance and load", async () => {
    const { inputs, outputs } = reference.noisyLayer;
    const layer = moe({
      dim: 4,
      hidden: 3,
      experts: 5,
      router: noisyTopK({ k: 2 }),
      losses: {
        importance: (r) => importanceLoss(r, { weight: 0.1 }),
        load: (r) => loadLoss(r, { weight: 0.1 }),
      },
    });
    const { chosen, ...rest } = outputs;
    await expectCase({ ...reference.noisyLayer, outputs: rest }, ({ x, gate, noise, ...p }) => {
      const params = { router: { gate, noise }, experts: networks(p) };
      const { output, losses, balance } = layer.apply(params, x, { train: true, noise: exact(inputs.drawn) });
      return { y: output, ...losses, loss: projected(output).add(balance) };
    });
    const { x, gate, noise } = exactly(inputs);
    const routing = noisyTopK({ k: 2 }).route({ gate, noise }, x, { noise: exact(inputs.drawn) });
    expect(await routing.experts.toArray()).toEqual(chosen);
  });

  const balance: Named<(r: TokenRouting) => Tensor> = {
    importance: (r) => importanceLoss(r),
    importanceUnbiased: (r) => importanceLoss(r, { variance: "unbiased" }),
    loadAttached: (r) => loadLoss(r),
    loadDetached: (r) => loadLoss(r, { threshold: "detached" }),
    switchPerToken: (r) => switchLoss(r),
    switchPerChoice: (r) => switchLoss(r, { fraction: "perChoice" }),
    switchFirstChoice: (r) => switchLoss(r, { fraction: "firstChoice" }),
    z: (r) => zLoss(r.logits!),
  };
  test.each(Object.entries(balance))("the auxiliary loss %s", async (name, lossOf) => {
    const { inputs, losses } = reference.balanceLosses;
    const { loss, grads } = losses[name];
    const params = exactly({ x: inputs.x, gate: inputs.gate, noise: inputs.noise });
    const [value, got] = valueAndGrad(({ x, ...p }: Record<string, Tensor>) =>
      lossOf(
        noisyTopK({ k: 2 }).route(p as Record<string, Tensor> & NoisyTopKParams, x, { noise: exact(inputs.drawn) }),
      ),
    )(params);
    await expectClose(name, value, loss);
    for (const [by, wanted] of Object.entries(grads)) await expectClose(`the gradient by ${by}`, got[by], wanted);
  });

  test.each(Object.entries(reference.softmaxLayers))("a layer with softmax routing: %s", async (name, made) => {
    const [activation, weights] = name.split(", ");
    const layer = moe({
      dim: 4,
      hidden: 3,
      experts: 4,
      activation: activation as Activation,
      router: softmaxTopK({ k: 2, renormalize: weights === "renormalized" }),
    });
    await expectCase(made, ({ x, gate, ...p }) => {
      const { output } = layer.apply({ router: { gate }, experts: networks(p) }, x);
      return { y: output, loss: projected(output) };
    });
  });

  test("cross-entropy, with and without a mask", async () => {
    const { inputs, masked } = reference.crossEntropy;
    const [targets, mask] = [indices(inputs.targets), tensor(inputs.mask as boolean[] & Nested)];
    await expectCase(reference.crossEntropy, ({ logits }) => ({ loss: crossEntropy(logits, targets) }));
    await expectCase(masked, ({ logits }) => ({ loss: crossEntropy(logits, targets, { mask }) }));
  });

  test("layer and RMS normalization", async () => {
    const { layer, rms } = reference.norms;
    await expectCase(layer, ({ x, scale, shift }) => {
      const y = layerNorm(x, scale, shift, { eps: 1e-5 });
      return { y, loss: projected(y) };
    });
    await expectCase(rms, ({ x, scale }) => {
      const y = rmsNorm(x, scale, null, { eps: 1e-5 });
      return { y, loss: projected(y) };
    });
  });

  test("causal attention with rotary positions and shared keys", async () => {
    const layer = attention({ dim: 8, heads: 4, kvHeads: 2, rope: 100 });
    await expectCase(reference.attention, ({ x, qkv, out }) => {
      const y = layer.apply({ qkv, out }, x);
      return { y, loss: projected(y) };
    });
  });

  test("an LSTM", async () => {
    const layer = lstm({ in: 3, hidden: 4 });
    await expectCase(reference.lstm, ({ x, input, hidden, bias }) => {
      const y = layer.apply({ input, hidden, bias }, x);
      return { y, loss: projected(y) };
    });
  });

  const optimizers: Named<Optimizer<unknown>> = {
    sgd: sgd({ learningRate: 0.1 }),
    momentum: sgd({ learningRate: 0.1, momentum: 0.9, weightDecay: 0.05 }),
    nesterov: sgd({ learningRate: 0.1, momentum: 0.9, nesterov: true, weightDecay: 0.05 }),
    adam: adam({ learningRate: 0.05, beta1: 0.8, beta2: 0.95, eps: 1e-6, weightDecay: 0.1 }),
    adamw: adamw({ learningRate: 0.05, weightDecay: 0.1 }),
    adafactor: adafactor(),
  } satisfies { [name: string]: unknown } as never;
  test.each(Object.entries(optimizers))("the course of %s", async (name, optimizer) => {
    const { start, grads, after } = reference.optimizers[name];
    let params = exact(start);
    let state = optimizer.init(params);
    for (const [step, g] of grads.entries()) {
      [params, state] = optimizer.update(params, exact(g), state);
      await expectClose(`step ${step}`, params, after[step]);
    }
  });

  test("gradients clipped to a global norm", async () => {
    const { grads, clipped, norm } = reference.clipped;
    const given = grads.map(exact);
    await expectClose("norm", globalNorm(given), norm);
    // PyTorch adds 1e-6 to the norm.
    for (const [i, g] of clipByGlobalNorm(given, 3).entries()) await expectClose(`gradient ${i}`, g, clipped[i], 7);
  });
});
