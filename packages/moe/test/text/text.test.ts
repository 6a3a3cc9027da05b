import { fc, test as property } from "@fast-check/vitest";
import { ConfigError, defaultDevice, FormatError, init, setDefaultDevice, type DeviceName } from "@switchyard/tensor";
import {
  characterTokenizer,
  corpusOf,
  decodeText,
  randomBatches,
  successiveBatches,
  textEntropies,
  vocabularyOf,
} from "@switchyard/moe";
import { beforeAll, describe, expect, test } from "vitest";

beforeAll(() => init("cpu"));

describe("characterTokenizer", () => {
  property.prop([fc.string({ unit: "binary", minLength: 1 }).filter((text) => text.isWellFormed())])(
    "decodes what it encoded, code point by code point",
    (text) => {
      const tokenizer = characterTokenizer(vocabularyOf(text));
      const ids = tokenizer.encode(text);
      expect(tokenizer.decode(ids)).toBe(text);
      expect(ids.length).toBe(Array.from(text).length);
      expect(Math.max(...ids)).toBe(tokenizer.size - 1);
    },
  );

  test("a character outside the vocabulary is a ConfigError that shows it", () => {
    expect(() => characterTokenizer("abc").encode("abd")).toThrow(ConfigError);
    expect(() => characterTokenizer("abc").encode("ab\n")).toThrow(/the character "\\n" is not in the vocabulary of 3/);
  });

  test("a vocabulary with a character twice, or none, is a ConfigError", () => {
    expect(() => characterTokenizer("aba")).toThrow(ConfigError);
    expect(() => characterTokenizer("")).toThrow(ConfigError);
  });
});

describe("a corpus", () => {
  test("its parts are the beginning and the end, and together the whole", () => {
    const { all, train, heldOut, tokenizer } = corpusOf("abcdefghij", "text", { atLeast: 1 });
    expect([...train, ...heldOut]).toEqual([...all]);
    expect(tokenizer.decode(heldOut)).toBe("j");
  });

  test("a text too short for one sequence in each part is a ConfigError that says how long it must be", () => {
    expect(() => corpusOf("a".repeat(50), "t.txt", { atLeast: 6 })).toThrow(ConfigError);
    expect(() => corpusOf("a".repeat(50), "t.txt", { atLeast: 6 })).toThrow(/^t\.txt is too short.* each must have 6/);
    expect(corpusOf("a".repeat(60), "t.txt", { atLeast: 6 }).heldOut.length).toBe(6);
  });

  test("bytes that are none, or not UTF-8, are a FormatError", () => {
    expect(() => decodeText(new Uint8Array(), "t.txt")).toThrow(FormatError);
    expect(() => decodeText(Uint8Array.of(0x61, 0xff), "t.txt")).toThrow(/t\.txt is not UTF-8 text/);
    expect(decodeText(new TextEncoder().encode("Ahab—"), "t.txt")).toBe("Ahab—");
  });
});

describe("batches", () => {
  const ids = Int32Array.from({ length: 101 }, (_, i) => i);

  test("targets are the tokens that follow", async () => {
    const { tokens, targets } = randomBatches(ids, { batch: 5, context: 7 }, 0)(3);
    expect(tokens.shape).toEqual([5, 7]);
    expect([...(await targets.data())]).toEqual([...(await tokens.add(1).data())]);
  });

  test("a random batch is a pure function of the seed and the step", async () => {
    const read = async (seed: number, step: number) =>
      [...(await randomBatches(ids, { batch: 4, context: 3 }, seed)(step).tokens.data())].join();
    expect(await read(1, 2)).toBe(await read(1, 2));
    expect(await read(1, 2)).not.toBe(await read(1, 3));
    expect(await read(1, 2)).not.toBe(await read(2, 2));
  });

  test("batches are of the device that is the default when they are drawn", async () => {
    const random = randomBatches(ids, { batch: 2, context: 3 }, 0);
    const successive = successiveBatches(ids, { batch: 2, context: 3 });
    const on = (device: DeviceName) => {
      setDefaultDevice(device);
      return [random(0), successive.at(0)].map(({ tokens }) => tokens);
    };
    const before = defaultDevice();
    const [cpu, wasm] = [on("cpu"), on("wasm")];
    setDefaultDevice(before);
    expect([...cpu, ...wasm].map(({ device }) => device)).toEqual(["cpu", "cpu", "wasm", "wasm"]);
    for (const [i, tokens] of wasm.entries()) expect(await tokens.data()).toEqual(await cpu[i].data());
  });

  test("random sequences begin anywhere that leaves room for their last target", async () => {
    const starts = new Set<number>();
    const batches = randomBatches(ids.subarray(0, 8), { batch: 64, context: 5 }, 0);
    for (const row of (await batches(0).tokens.toArray()) as number[][]) starts.add(row[0]);
    expect([...starts].toSorted((a, b) => a - b)).toEqual([0, 1, 2]);
  });

  test("successive batches go through the text once", async () => {
    const { count, at } = successiveBatches(ids, { batch: 3, context: 8 });
    expect(count).toBe(4);
    const seen: number[] = [];
    for (let i = 0; i < count; i++) seen.push(...(await at(i).tokens.data()));
    expect(seen).toEqual([...ids.subarray(0, 96)]);
  });
});

describe("textEntropies", () => {
  test("a text of one character has none", () => {
    expect(textEntropies(new Int32Array(10), 1)).toEqual({ unigram: 0, bigram: 0 });
  });

  test("alternation is certain once the character before is known", () => {
    const { unigram, bigram } = textEntropies(
      Int32Array.from({ length: 1001 }, (_, i) => i % 2),
      2,
    );
    expect(unigram).toBeCloseTo(Math.LN2, 5);
    expect(bigram).toBeCloseTo(0, 12);
  });

  property.prop([fc.array(fc.nat({ max: 4 }), { minLength: 2, maxLength: 200 })])(
    "they are the sums that define them",
    (text) => {
      const count = (of: unknown[], what: unknown) => of.filter((x) => x === what).length;
      const pairs = text.slice(1).map((next, i) => `${text[i]},${next}`);
      let [unigram, bigram] = [0, 0];
      for (const c of text) unigram -= Math.log(count(text, c) / text.length) / text.length;
      for (const [i, pair] of pairs.entries())
        bigram -= Math.log(count(pairs, pair) / count(text.slice(0, -1), text[i])) / pairs.length;
      const got = textEntropies(Int32Array.from(text), 5);
      expect(got.unigram).toBeCloseTo(unigram, 9);
      expect(got.bigram).toBeCloseTo(bigram, 9);
    },
  );
});
