import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ConfigError, FormatError, init } from "@switchyard/tensor";
import {
  byteTokenizer,
  openTokens,
  splitTokens,
  textBlocks,
  tokenBatches,
  writeTokens,
  type Tokens,
} from "@switchyard/moe";
import { afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";

let dir: string;
beforeAll(() => init("cpu"));
beforeEach(async () => void (dir = await mkdtemp(join(tmpdir(), "switchyard-"))));
afterEach(() => rm(dir, { recursive: true }));

const bytes = byteTokenizer();

test("bytes are the tokens of any text, and come back", () => {
  const text = "naïve café – 鯨 🐋\n";
  expect(bytes.encode("é")).toEqual([0xc3, 0xa9]);
  expect(bytes.decode(bytes.encode(text))).toBe(text);
  expect(bytes.decode([0xc3])).toBe("\ufffd");
});

describe("a file of tokens", () => {
  test.each([".u16", ".u32"])("%s holds documents one after the other, with a token between", async (extension) => {
    const path = join(dir, `text${extension}`);
    const wide = { ...bytes, size: 300 };
    expect(await writeTokens(path, ["ab", "", "c"], wide, { separator: 256 })).toBe(6);
    const tokens = await openTokens(path);
    expect([tokens.length, [...(await tokens.read(0, 6))]]).toEqual([6, [97, 98, 256, 256, 99, 256]]);
    expect([...(await tokens.read(1, 3))]).toEqual([98, 256]);
    await tokens.close();
  });

  test("is made of a text file block by block, cut where lines end, to the same tokens", async () => {
    const line = "Call me Ishmael – some years ago.\n";
    const text = line.repeat(80_000); // 2.9 MB: several blocks, with borders amid characters
    await writeFile(join(dir, "text.txt"), text);
    let blocks = 0;
    async function* counted() {
      for await (const block of textBlocks(join(dir, "text.txt"))) {
        blocks++;
        expect(block.endsWith("\n")).toBe(true);
        yield block;
      }
    }
    await writeTokens(join(dir, "text.u16"), counted(), bytes);
    expect(blocks).toBeGreaterThan(2);
    const tokens = await openTokens(join(dir, "text.u16"));
    expect(tokens.length).toBe(new TextEncoder().encode(text).length);
    expect(bytes.decode(await tokens.read(tokens.length - 36, tokens.length))).toBe(line);
    await tokens.close();
  });

  test("a write that fails leaves nothing behind", async () => {
    const path = join(dir, "text.u16");
    function* broken() {
      yield "a";
      throw new Error("no more text");
    }
    await expect(writeTokens(path, broken(), bytes)).rejects.toThrow("no more text");
    expect(await readdir(dir)).toEqual([]);
  });

  test("names that say nothing, tokens that do not fit, files cut short and text that is none are refused", async () => {
    await expect(writeTokens(join(dir, "a.bin"), [], bytes)).rejects.toThrow(/is named \.u16/);
    await expect(writeTokens(join(dir, "a.u16"), [], { ...bytes, size: 65_537 })).rejects.toThrow(ConfigError);
    const at = join(dir, "a.u16");
    await expect(writeTokens(at, ["a"], bytes, { separator: 65_536 })).rejects.toThrow(/65537 different tokens need/);
    await expect(writeTokens(at, ["a"], bytes, { separator: -1 })).rejects.toThrow(/separator must be .* got -1/);
    await writeFile(join(dir, "cut.u32"), Uint8Array.of(1, 2, 3));
    await expect(openTokens(join(dir, "cut.u32"))).rejects.toThrow(FormatError);
    await writeFile(join(dir, "latin1.txt"), Uint8Array.of(0x63, 0xe9, 0x0a));
    await expect(Array.fromAsync(textBlocks(join(dir, "latin1.txt")))).rejects.toThrow(/latin1\.txt is not UTF-8/);
  });
});

/** Tokens in memory that note what is read of them. */
const noting = (ids: number[]) => {
  const read: [number, number][] = [];
  const tokens: Tokens = {
    length: ids.length,
    read: async (begin, end) => (read.push([begin, end]), Int32Array.from(ids.slice(begin, end))),
  };
  return { tokens, read };
};
const counting = (length: number) => Array.from({ length }, (_, i) => i);

describe("tokenBatches", () => {
  test("has every sequence once an epoch, each with what follows, and reads no more than that", async () => {
    const { tokens, read } = noting(counting(26)); // eight sequences of 3, one token over
    const at = tokenBatches(tokens, { batch: 2, context: 3 }, 5);
    const firsts: number[] = [];
    for (let step = 0; step < 4; step++) {
      const { tokens: inputs, targets } = await at(step);
      const [a, b] = [await inputs.toArray(), await targets.toArray()] as number[][][];
      for (const [row, ids] of a.entries()) {
        expect(b[row]).toEqual(ids.map((id) => id + 1));
        firsts.push(ids[0]);
      }
    }
    expect(firsts.toSorted((x, y) => x - y)).toEqual([0, 3, 6, 9, 12, 15, 18, 21]);
    expect(read.every(([begin, end]) => end - begin === 4)).toBe(true);
  });

  test("is a pure function of the step and the seed", async () => {
    const { tokens } = noting(counting(100));
    const at = (seed: number) => tokenBatches(tokens, { batch: 2, context: 4 }, seed);
    const read = async (step: number, seed: number) => (await at(seed)(step)).tokens.toArray();
    expect(await read(40, 1)).toEqual(await read(40, 1));
    expect(await read(40, 1)).not.toEqual(await read(40, 2));
  });

  test("a held-out part shares nothing with what is trained on", async () => {
    const { train, heldOut } = splitTokens(noting(counting(10)).tokens, 0.3);
    expect([[...(await train.read(0, 7))], [...(await heldOut.read(0, 3))]]).toEqual([
      [0, 1, 2, 3, 4, 5, 6],
      [7, 8, 9],
    ]);
  });

  test("too few tokens are a ConfigError", () => {
    expect(() => tokenBatches(noting([1, 2]).tokens, { batch: 1, context: 2 }, 0)).toThrow(
      /need 3 tokens, but there are 2/,
    );
  });
});
