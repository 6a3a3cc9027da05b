// Reads files that were made to be wrong: `node --conditions=source packages/moe/test/interop/fuzz.ts 100000` prints how many, and what came of them.
import { FormatError } from "@switchyard/tensor";
import { sizeOf } from "@switchyard/tensor/graph";
import { elementTypes } from "../../src/interop/elementTypes.ts";
import { prefixLength } from "../../src/interop/header.ts";
import { decodeSafetensors, openSafetensors, type HostTensor } from "../../src/interop/safetensors.ts";

export interface FuzzOutcome {
  readonly inputs: number;
  /** Read as sound: some damage is in the elements alone, or undone by chance. */
  readonly sound: number;
  readonly refused: number;
  /** Milliseconds that the slowest took. */
  readonly slowest: number;
}

type Draw = (below: number) => number;

/** A small generator, so that a seed finds the same inputs again (Marsaglia 2003, xorshift32). */
function drawFrom(seed: number): Draw {
  let state = (seed ^ 0x9e3779b9) | 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

const pick = <T>(draw: Draw, items: readonly T[]): T => items[draw(items.length)];
const types = Object.keys(elementTypes) as (keyof typeof elementTypes)[];
/** Values that a reader may trip over, in place of any other. */
const awkward: readonly unknown[] = [
  -1, 0, 0.5, 1e300, 2 ** 53, 2 ** 31, 2 ** 32, -0, null, true, "", "0", [], {}, [[]], [0, 0, 0], ["0", "4"], "__proto__", "F8_E5M2",
]; // prettier-ignore
const bits = ["{", "}", "[", "]", '"', ",", ":", "\\", "\u0000", "é", "1e999", "-", "__metadata__", '{"a":', "\ufeff"];

interface Draft {
  header: { [name: string]: unknown };
  body: number;
}

/** A sound header of up to four tensors. */
function soundDraft(draw: Draw): Draft {
  const header: { [name: string]: unknown } = draw(3) === 0 ? { __metadata__: { format: "pt" } } : {};
  let end = 0;
  for (let i = draw(5); i > 0; i--) {
    const dtype = pick(draw, types);
    const shape = Array.from({ length: draw(4) }, () => draw(4));
    const begin = end;
    end += sizeOf(shape) * elementTypes[dtype].bytes;
    header[`t${i}`] = { dtype, shape, data_offsets: [begin, end] };
  }
  return { header, body: end };
}

/** Puts something awkward somewhere into a tree of JSON. */
function spoil(draw: Draw, tree: { [key: string]: unknown }): void {
  const keys = Object.keys(tree);
  if (keys.length === 0 || draw(8) === 0)
    return void (tree[pick(draw, ["x", "__metadata__", "dtype"])] = pick(draw, awkward));
  const key = pick(draw, keys);
  const inner = tree[key];
  if (typeof inner === "object" && inner !== null && draw(3) > 0)
    return spoil(draw, inner as { [key: string]: unknown });
  if (draw(6) === 0) delete tree[key];
  else tree[key] = typeof inner === "number" && draw(2) === 0 ? inner + draw(9) - 4 : pick(draw, awkward);
}

/** Changes text at some places. */
function scribble(draw: Draw, text: string): string {
  for (let n = 1 + draw(3); n > 0; n--) {
    const at = draw(text.length + 1);
    text = text.slice(0, at) + pick(draw, bits) + text.slice(at + draw(3));
  }
  return text;
}

/** The bytes of an input: sound, or wrong in its tree, its text, its bytes, its length, or several of these. */
function inputOf(draw: Draw): Uint8Array {
  const { header, body } = soundDraft(draw);
  if (draw(2) === 0) spoil(draw, header);
  let text = JSON.stringify(header);
  if (draw(4) === 0) text = scribble(draw, text);
  const json = new TextEncoder().encode(text.padEnd(Math.ceil(text.length / 8) * 8));
  const bytes = new Uint8Array(prefixLength + json.length + body);
  new DataView(bytes.buffer).setBigUint64(0, lengthOf(draw, json.length), true);
  bytes.set(json, prefixLength);
  if (draw(4) === 0) for (let n = 1 + draw(4); n > 0 && bytes.length > 0; n--) bytes[draw(bytes.length)] = draw(256);
  return draw(6) === 0 ? bytes.subarray(0, draw(bytes.length + 1)) : bytes;
}

const lengthOf = (draw: Draw, length: number): bigint =>
  draw(12) > 0 ? BigInt(length) : pick(draw, [0n, 1n, BigInt(length + 1), BigInt(2 ** 31), 2n ** 53n, 2n ** 64n - 1n]);

/** The same bytes in the middle of others: whoever reads past an end reads those. */
function amid(bytes: Uint8Array): Uint8Array {
  const room = new Uint8Array(bytes.length + 64).fill(0x22);
  room.set(bytes, 32);
  return room.subarray(32, 32 + bytes.length);
}

const isWhole = ({ data, shape }: HostTensor): boolean => data.length === sizeOf(shape);

/** Whether an input is read as sound. @throws {Error} if anything but a FormatError comes of it. */
function read(bytes: Uint8Array): ReadonlyMap<string, HostTensor> | FormatError {
  try {
    return decodeSafetensors(bytes, "input").tensors;
  } catch (error) {
    if (error instanceof FormatError) return error;
    throw error;
  }
}

const textOf = (result: ReturnType<typeof read>): string =>
  result instanceof FormatError
    ? result.message
    : JSON.stringify([...result].map(([name, { dtype, shape, data }]) => [name, dtype, shape, [...data].map(String)]));

/** A source that allows no byte beyond its end. */
const guarded = (bytes: Uint8Array): Blob => {
  const blob = new Blob([bytes as Uint8Array<ArrayBuffer>]);
  const slice = blob.slice.bind(blob);
  blob.slice = (begin = 0, end = blob.size) => {
    if (begin < 0 || end > blob.size || begin > end) throw new RangeError(`asked for ${begin}..${end} of ${blob.size}`);
    return slice(begin, end);
  };
  return blob;
};

/** What the lazy reader makes of an input. */
async function readLazily(bytes: Uint8Array): Promise<string> {
  try {
    const opened = await openSafetensors(guarded(bytes));
    const tensors: [string, HostTensor][] = [];
    for (const name of opened.entries.keys()) tensors.push([name, await opened.read(name)]);
    return textOf(new Map(tensors));
  } catch (error) {
    if (error instanceof FormatError) return error.message.replaceAll("the given Blob", "input");
    throw error;
  }
}

/**
 * Reads so many inputs, every tenth lazily as well.
 *
 * @throws {Error} with the input, if one crashes the reader, is read beyond its end, or is read in two ways.
 */
export async function fuzz(inputs: number, seed: number): Promise<FuzzOutcome> {
  const draw = drawFrom(seed);
  const outcome = { inputs, sound: 0, refused: 0, slowest: 0 };
  for (let i = 0; i < inputs; i++) {
    const bytes = inputOf(draw);
    try {
      const began = performance.now();
      const result = read(bytes);
      outcome.slowest = Math.max(outcome.slowest, performance.now() - began);
      if (result instanceof FormatError) outcome.refused++;
      else outcome.sound++;
      if (!(result instanceof FormatError) && ![...result.values()].every(isWhole))
        throw new Error("a tensor is not whole");
      if (textOf(read(amid(bytes))) !== textOf(result)) throw new Error("what lies around the input matters");
      if (i % 10 === 0 && (await readLazily(bytes)) !== textOf(result)) throw new Error("read lazily, it is another");
    } catch (error) {
      throw new Error(`input ${i} of seed ${seed}, ${Buffer.from(bytes).toString("base64")}: ${String(error)}`, {
        cause: error,
      });
    }
  }
  return outcome;
}

if (import.meta.main) {
  const seed = Number(process.argv[3] ?? Date.now() % 2 ** 31);
  const { inputs, sound, refused, slowest } = await fuzz(Number(process.argv[2] ?? 100_000), seed);
  console.log(
    `${inputs} inputs of seed ${seed}: ${sound} read as sound, ${refused} refused with a FormatError, none crashed, hung or was read beyond its end; the slowest took ${slowest.toFixed(1)} ms`,
  );
}
