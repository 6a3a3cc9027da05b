import { treeLeaves, treeMap } from "@switchyard/autograd";
import {
  argMax,
  ConfigError,
  init,
  memory,
  random,
  realize,
  setDefaultDevice,
  tensor,
  type Tensor,
} from "@switchyard/tensor";
import { generate, generateBatch, transformer, type GenerateOptions, type LanguageModel } from "@switchyard/moe";
import { beforeAll, describe, expect, test } from "vitest";
import { sampleToken } from "../../src/models/sampling.ts";

const model = transformer({ vocab: 7, dim: 8, layers: 1, heads: 2, hidden: 8, context: 8, moe: { experts: 3, k: 1 } });
let params: ReturnType<typeof model.init>;
beforeAll(async () => {
  await init("cpu");
  params = await realize(model.init(random.key(3)));
});

async function collect(options: Partial<GenerateOptions>): Promise<number[]> {
  const ids: number[] = [];
  for await (const id of generate(model, params, { prompt: [1, 2], maxTokens: 5, key: random.key(0), ...options }))
    ids.push(id);
  return ids;
}

/** The likeliest continuation, each token from a pass over the whole sequence. */
async function uncached(prompt: number[], count: number): Promise<number[]> {
  const ids = [...prompt];
  for (let i = 0; i < count; i++) {
    const { logits } = model.apply(params, tensor([ids], { dtype: "i32" }));
    ids.push(await argMax(logits.slice(0, -1)).item());
  }
  return ids.slice(prompt.length);
}

describe("generate", () => {
  test("at temperature 0, a cache gives what the whole pass gives", async () => {
    expect(await collect({ prompt: [1, 2, 3], maxTokens: 6, temperature: 0, key: undefined })).toEqual(
      await uncached([1, 2, 3], 6),
    );
  });

  test("the same key draws the same tokens, another draws others", async () => {
    const draw = (seed: number) => collect({ maxTokens: 6, key: random.key(seed) });
    expect(await draw(1)).toEqual(await draw(1));
    expect(await draw(1)).not.toEqual(await draw(2));
  });

  test("beyond the context, the last half of the sequence is read again", async () => {
    const ids = await collect({ prompt: [1, 2, 3, 4, 5, 6], maxTokens: 5, temperature: 0 });
    const inside = await uncached([1, 2, 3, 4, 5, 6], 3); // the last of these is the ninth token
    const half = [1, 2, 3, 4, 5, 6, ...inside].slice(-4);
    expect(ids).toEqual([...inside, ...(await uncached(half, 2))]);
  });

  test("goes on where the parameters are and in their dtype, whatever the default device", async () => {
    const expected = await collect({ temperature: 0, repetitionPenalty: 1.2, maxTokens: 9 });
    const f64 = treeMap((p) => p.cast("f64"), params);
    setDefaultDevice("wasm");
    for (const elsewhere of [params, f64]) {
      const ids: number[] = [];
      const options = { prompt: [1, 2], maxTokens: 9, temperature: 0, repetitionPenalty: 1.2 };
      for await (const id of generate(model, elsewhere, options)) ids.push(id);
      expect(ids).toEqual(expected);
    }
    setDefaultDevice("cpu");
  });

  test("no tokens asked for are no tokens", async () => {
    expect(await collect({ maxTokens: 0 })).toEqual([]);
  });

  test("holds no memory once it ends, or is left", async () => {
    const key = random.key(0);
    const run = async (maxTokens: number) => {
      for await (const id of generate(model, params, { prompt: [1, 2], maxTokens, key })) expect(id).toBeLessThan(7);
    };
    await run(3);
    const before = memory().liveTensors;
    await run(12);
    for await (const id of generate(model, params, { prompt: [1], maxTokens: 9, temperature: 0 })) if (id >= 0) break;
    expect(memory().liveTensors).toBe(before);
  });

  test.each<[string, Partial<GenerateOptions>, RegExp]>([
    ["an empty prompt", { prompt: [] }, /prompt must be an array of at least one token id/],
    [
      "a prompt longer than the context",
      { prompt: new Array<number>(9).fill(1) },
      /9 tokens but the context is 8; give its last 8/,
    ],
    ["half a token", { maxTokens: 2.5 }, /maxTokens must be an integer of at least 0, got 2.5/],
    ["no key to draw with", { key: undefined }, /needs a key/],
    ["a negative temperature", { temperature: -1 }, /temperature must be a number of at least 0/],
    ["a top-p above 1", { topP: 1.5 }, /topP must be a number above 0, up to 1/],
    ["a penalty that rewards", { repetitionPenalty: 0.5 }, /repetitionPenalty must be a number of at least 1/],
    ["an unknown option", { beams: 3 } as never, /unknown option "beams"/],
  ])("%s is a ConfigError at once", (_, options, message) => {
    const act = () => generate(model, params, { prompt: [1], maxTokens: 1, key: random.key(0), ...options });
    expect(act).toThrow(ConfigError);
    expect(act).toThrow(message);
  });

  test("a token that the model does not know is a ConfigError, not nothing", async () => {
    await expect(collect({ prompt: [1, 7] })).rejects.toThrow(
      new ConfigError("generate: the prompt has the token 7 but the model knows 0 to 6"),
    );
  });

  test("an error of the model is the one that is told, whatever became of its cache", async () => {
    const broken: typeof model = {
      ...model,
      step(p, tokens, cache) {
        if (tokens.shape[1] > 1) return model.step(p, tokens, cache);
        for (const t of treeLeaves(cache)) t.dispose();
        throw new Error("the first error");
      },
    };
    const run = Array.fromAsync(generate(broken, params, { prompt: [1, 2], maxTokens: 3, temperature: 0 }));
    await expect(run).rejects.toThrow("the first error");
  });

  test("takes any model of the interface", async () => {
    // Counts upwards, whatever it is given; remembers the last token.
    const counting: LanguageModel<null> = {
      context: 4,
      init: () => null,
      loss: () => ({ loss: tensor(0) }),
      apply: (_, tokens) => ({ logits: oneAfter(tokens) }),
      start: () => ({ position: tensor(0, { dtype: "i32" }) }),
      step: (_, tokens, cache) => ({ logits: oneAfter(tokens), cache }),
    };
    const oneAfter = (tokens: Tensor) =>
      tensor([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]).eq(tokens.add(1).cast("f32").expandDims(-1)).cast("f32");
    const ids: number[] = [];
    for await (const id of generate(counting, null, { prompt: [1, 2], maxTokens: 6, temperature: 0 })) ids.push(id);
    expect(ids).toEqual([3, 4, 5, 6, 7, 8]);
  });
});

test("at temperature 0, the same text comes on every device", async () => {
  const texts: number[][] = [];
  for (const device of ["cpu", "wasm"] as const) {
    await init(device);
    const options = { prompt: [1, 2, 3], maxTokens: 20, temperature: 0 };
    texts.push(await Array.fromAsync(generate(model, model.init(random.key(8)), options)));
  }
  await init("cpu");
  expect(texts[1]).toEqual(texts[0]);
});

describe("generateBatch", () => {
  const prompts = [[1, 2, 3, 4], [5], [6, 0]];
  const columns = async (options: object) => {
    const steps = await Array.fromAsync(generateBatch(model, params, { prompts, maxTokens: 12, ...options }));
    return prompts.map((_, b) => steps.flatMap((step) => step[b] ?? []));
  };

  test("each row is what its prompt alone becomes, beyond the context too", async () => {
    const alone = prompts.map((prompt) => collect({ prompt, maxTokens: 12, temperature: 0 }));
    expect(await columns({ temperature: 0 })).toEqual(await Promise.all(alone));
  });

  test("each row draws with a key of its own: the fold of the key and the row", async () => {
    const key = random.key(4);
    const sampling = { topK: 5, topP: 0.9, repetitionPenalty: 1.3 };
    const alone = prompts.map((prompt, row) =>
      collect({ prompt, maxTokens: 12, key: random.fold(key, row), ...sampling }),
    );
    expect(await columns({ key, ...sampling })).toEqual(await Promise.all(alone));
  });

  test("a row that is still being read, or has its tokens, gives null", async () => {
    const steps = await Array.fromAsync(
      generateBatch(model, params, { prompts: [[1, 2, 3], [4]], maxTokens: 2, temperature: 0 }),
    );
    expect(steps.map((step) => step.map((id) => id !== null))).toEqual([
      [false, true],
      [false, true],
      [true, false],
      [true, false],
    ]);
  });

  test("holds no memory once it ends", async () => {
    await columns({ temperature: 0 });
    const before = memory().liveTensors;
    await columns({ key: random.key(1), repetitionPenalty: 2 });
    expect(memory().liveTensors).toBeLessThanOrEqual(before + 1); // the key
  });

  test("a token that the model does not know is told of it by name", async () => {
    await expect(
      generateBatch(model, params, { prompts: [[1], [7]], maxTokens: 1, temperature: 0 })
        [Symbol.asyncIterator]()
        .next(),
    ).rejects.toThrow("generateBatch: the prompt has the token 7");
  });

  test("no prompts, or an empty one, is a ConfigError at once", () => {
    for (const wrong of [[], [[1], []]])
      expect(() => generateBatch(model, params, { prompts: wrong, maxTokens: 1 })).toThrow(
        /prompts must be an array of at least one prompt/,
      );
  });
});

describe("sampleToken", () => {
  const logits = () => tensor([0, 3, 1, 2.9, -4]);
  const drawn = async (options: object) => {
    const ids = new Set<number>();
    for (let i = 0; i < 60; i++) ids.add(await sampleToken(logits(), options, random.key(i)).item());
    return [...ids].toSorted((a, b) => a - b);
  };

  test("temperature 0 takes the likeliest", async () => expect(await drawn({ temperature: 0 })).toEqual([1]));
  test("top-k draws from no more than k", async () => {
    expect(await drawn({ topK: 1 })).toEqual([1]);
    expect(await drawn({ topK: 2 })).toEqual([1, 3]);
    expect(await drawn({ topK: 100, temperature: 20 })).toEqual([0, 1, 2, 3, 4]);
  });
  test("top-p draws from the fewest that together have p", async () => {
    expect(await drawn({ topP: 0.3 })).toEqual([1]);
    expect(await drawn({ topP: 0.6 })).toEqual([1, 3]);
  });
  test("the penalty divides what is above 0 and multiplies what is below, of tokens seen", async () => {
    const seen = tensor([false, true, false, false, true]);
    const likeliest = (repetitionPenalty: number) =>
      sampleToken(logits(), { temperature: 0, repetitionPenalty }, undefined, seen).item();
    expect([await likeliest(1), await likeliest(1.02), await likeliest(1.05)]).toEqual([1, 1, 3]);
    const low = tensor([-3, -4, -3.5]);
    const options = { temperature: 0, repetitionPenalty: 1.2 };
    expect(await sampleToken(low, options, undefined, tensor([true, false, false])).item()).toBe(2);
  });
  test("draws each token as often as softmax says", async () => {
    const counts = [0, 0, 0];
    const draws = 400;
    for (let i = 0; i < draws; i++)
      counts[await sampleToken(tensor([0, 1, 2]).mul(0.5), { temperature: 0.5 }, random.key(i)).item()]++;
    const total = 1 + Math.E + Math.E ** 2;
    for (const [i, count] of counts.entries()) expect(count / draws).toBeCloseTo(Math.E ** i / total, 0.9);
  });
});
