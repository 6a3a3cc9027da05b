import { ConfigError, FormatError, tensor } from "@switchyard/tensor";
import { checkOptions, positiveInteger, requireOptions, wholeNumber } from "@switchyard/tensor/graph";
import { shuffledSteps } from "../data/shuffled.ts";
import type { BatchSizes, TextBatch } from "./batches.ts";
import type { Tokenizer } from "./tokenizer.ts";
import * as files from "#files";

/** Tokens that are read where they are needed: they may be more than memory holds. */
export interface Tokens {
  readonly length: number;
  /** Tokens `begin..end`. */
  read(begin: number, end: number): Promise<Int32Array>;
}

/** How tokens lie in a file, by the end of its name: little-endian integers and nothing else. */
const widths: { readonly [extension: string]: number } = { ".u16": 2, ".u32": 4 };

function widthOf(path: string): number {
  const width = widths[path.slice(-4)];
  if (width !== undefined) return width;
  throw new ConfigError(`${path}: a file of tokens is named .u16, for up to 65,536 different ones, or .u32`);
}

/**
 * Writes the tokens of texts to a file, one text after the other, so that sequences are packed without a gap. Never more than a text is held.
 *
 * @param path ends in `.u16` or `.u32`; it is there whole or not at all.
 * @param texts such as the blocks of `textBlocks`, or documents.
 * @param separator a token to write after each, so that a model can tell where a document ends.
 * @returns how many tokens there are.
 */
export async function writeTokens(
  path: string,
  texts: AsyncIterable<string> | Iterable<string>,
  tokenizer: Tokenizer,
  { separator }: { readonly separator?: number } = {},
): Promise<number> {
  const width = widthOf(path);
  if (separator !== undefined && !wholeNumber.holds(separator))
    throw new ConfigError(`writeTokens: separator must be ${wholeNumber.must}, got ${separator}`);
  const different = Math.max(tokenizer.size, (separator ?? 0) + 1);
  if (different > 2 ** (8 * width))
    throw new ConfigError(`writeTokens: ${different} different tokens need a file named .u32, got ${path}`);
  let count = 0;
  async function* chunks(): AsyncGenerator<Uint8Array> {
    for await (const text of texts) {
      const ids = [...tokenizer.encode(text), ...(separator === undefined ? [] : [separator])];
      count += ids.length;
      const packed = width === 2 ? Uint16Array.from(ids) : Uint32Array.from(ids);
      yield new Uint8Array(packed.buffer);
    }
  }
  await files.writeAtomically(path, chunks());
  return count;
}

/** A text file in blocks that end where lines do: what a tokenizer sees of a line is all of it. @throws {FormatError} if it is not UTF-8. */
export const textBlocks = (path: string): AsyncIterable<string> => files.textBlocks(path);

/** Opens what `writeTokens` wrote. */
export async function openTokens(path: string): Promise<Tokens & { close(): Promise<void> }> {
  const width = widthOf(path);
  const bytes = await files.openFile(path);
  if (bytes.size % width !== 0) {
    await bytes.close();
    throw new FormatError(`${path}: ${bytes.size} bytes are no whole number of tokens of ${width}; it was cut short`);
  }
  return {
    length: bytes.size / width,
    async read(begin, end) {
      const { buffer } = await bytes.read(begin * width, end * width);
      return Int32Array.from(width === 2 ? new Uint16Array(buffer) : new Uint32Array(buffer));
    },
    close: () => bytes.close(),
  };
}

/** The beginning of some tokens, to train on, and the rest, to judge by. */
export function splitTokens(
  tokens: Tokens,
  heldOutShare: number,
): { readonly train: Tokens; readonly heldOut: Tokens } {
  const border = Math.floor(tokens.length * (1 - heldOutShare));
  const part = (from: number, to: number): Tokens => ({
    length: to - from,
    read: (begin, end) => tokens.read(from + begin, from + end),
  });
  return { train: part(0, border), heldOut: part(border, tokens.length) };
}

/**
 * Sequences of a file of tokens, read as they are needed: each once an epoch, in an order that the seed decides. A pure function of the
 * step; `prefetch` reads ahead.
 *
 * @throws {ConfigError} on a bad size, or if there are too few tokens for one sequence and its last target.
 */
export function tokenBatches(tokens: Tokens, sizes: BatchSizes, seed: number): (step: number) => Promise<TextBatch> {
  checkOptions("tokenBatches", sizes, { batch: positiveInteger, context: positiveInteger });
  requireOptions("tokenBatches", sizes, "batch", "context");
  const { batch, context } = sizes;
  const count = Math.floor((tokens.length - 1) / context);
  if (count < 1)
    throw new ConfigError(
      `tokenBatches: a sequence of ${context} and its last target need ${context + 1} tokens, but there are ${tokens.length}`,
    );
  const sequencesAt = shuffledSteps(count, batch, seed);
  return async (step) => {
    const rows = await Promise.all(
      sequencesAt(step).map((sequence) => tokens.read(sequence * context, (sequence + 1) * context + 1)),
    );
    const part = (from: number): Int32Array => {
      const ids = new Int32Array(batch * context);
      for (const [b, row] of rows.entries()) ids.set(row.subarray(from, from + context), b * context);
      return ids;
    };
    const shape = [batch, context];
    return { tokens: tensor(part(0), { shape }), targets: tensor(part(1), { shape }) };
  };
}
