import { init, random, shutdown, tensor, type DeviceName, type Tensor, type TypedArray } from "@switchyard/tensor";
import { noisyTopK, softmaxTopK, type LogitRouting } from "@switchyard/moe";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const devices = ["cpu", "wasm", "webgpu"] as const satisfies readonly DeviceName[];

beforeAll(async () => void (await init("webgpu")));
afterAll(() => shutdown());

test("random bits, and all that is made of them without rounding, are bitwise those of cpu and wasm", async () => {
  const drawn = (device: DeviceName): Promise<TypedArray[]> => {
    const [a, b, c, d, e] = random.split(random.key(11, { device }), 5);
    const more = random.fold(a, 3);
    return Promise.all([
      random.bits(a, [100_003]).data(),
      random.bits(more, [7, 5]).data(),
      random.uniform(b, [50_001]).data(),
      random.randint(c, [9999], { min: -5, max: 1_000_003 }).data(),
      random.bernoulli(d, [9999], { p: 0.3 }).data(),
      random.permutation(e, 4097).data(),
    ]);
  };
  const [cpu, ...others] = await Promise.all(devices.map(drawn));
  for (const other of others) expect(other).toEqual(cpu);
});

/** Relative to the largest score of a token. Two that are closer may change places, since devices round differently. */
const decisiveGap = 1e-5;

const [tokens, dim, experts, k] = [512, 64, 32, 4];

const drawn = (seed: number, shape: readonly number[], device: DeviceName): Promise<Tensor> =>
  random
    .normal(random.key(seed, { device: "cpu" }), shape)
    .data()
    .then((data) => tensor(data, { shape, device }));

/** For each token, the least gap between neighbours among its k + 1 best scores, relative to the largest score. */
function decidingGaps(scores: TypedArray): number[] {
  return Array.from({ length: tokens }, (_, t) => {
    const best = [...scores.subarray(t * experts, (t + 1) * experts)].toSorted((a, b) => b - a);
    const gaps = best.slice(0, k).map((score, i) => score - best[i + 1]);
    return Math.min(...gaps) / Math.max(...best.map(Math.abs));
  });
}

describe("routing decisions agree on all devices wherever the deciding gap is more than 1e-5", () => {
  const routed: { readonly [router: string]: (device: DeviceName) => Promise<LogitRouting> } = {
    softmaxTopK: async (device) => {
      const [gate, x] = await Promise.all([drawn(1, [dim, experts], device), drawn(2, [tokens, dim], device)]);
      return softmaxTopK({ k }).route({ gate }, x);
    },
    noisyTopK: async (device) => {
      const shape = [dim, experts];
      const [gate, noise, x] = await Promise.all([
        drawn(1, shape, device),
        drawn(3, shape, device),
        drawn(2, [tokens, dim], device),
      ]);
      return noisyTopK({ k }).route({ gate, noise }, x, { train: true, key: random.key(4, { device }) });
    },
  };

  test.each(Object.keys(routed))("%s", async (name) => {
    const [cpu, ...others] = await Promise.all(
      devices.map(async (device) => {
        const { experts: chosen, logits, noisyLogits } = await routed[name](device);
        const [choices, scores] = await Promise.all([chosen.data(), (noisyLogits ?? logits).data()]);
        return { choices, scores };
      }),
    );
    const gaps = decidingGaps(cpu.scores);
    expect(gaps.filter((gap) => gap > decisiveGap).length).toBeGreaterThan(0.98 * tokens);
    const choiceOf = (choices: TypedArray, t: number): number[] => [...choices.subarray(t * k, (t + 1) * k)];
    for (const { choices } of others)
      gaps.forEach((gap, t) => {
        if (gap > decisiveGap) expect(choiceOf(choices, t), `token ${t}`).toEqual(choiceOf(cpu.choices, t));
      });
  });
});
