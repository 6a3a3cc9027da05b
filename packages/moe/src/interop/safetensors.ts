import {
  ConfigError,
  FormatError,
  tensor,
  type DType,
  type Shape,
  type Tensor,
  type TypedArray,
} from "@switchyard/tensor";
import { sizeOf } from "@switchyard/tensor/graph";
import * as files from "#files";

/** One tensor of a file: its elements on the host. */
export interface HostTensor {
  readonly dtype: DType;
  readonly shape: Shape;
  readonly data: TypedArray;
}

export interface SafetensorsContents {
  readonly tensors: ReadonlyMap<string, HostTensor>;
  /** What the writer noted beside the tensors. */
  readonly metadata: Readonly<Record<string, string>>;
}

/** Where bytes come from: a path, a URL to fetch, or the bytes themselves. */
export type ByteSource = string | URL | Blob | Uint8Array;

/** How the format's element types become ours: what each takes in the file, and how it is read. */
interface Encoding {
  readonly bytes: number;
  readonly dtype: DType;
  readonly read: (bytes: ArrayBufferLike) => TypedArray;
}

const encodings: { readonly [name: string]: Encoding } = {
  F64: { bytes: 8, dtype: "f64", read: (b) => new Float64Array(b) },
  F32: { bytes: 4, dtype: "f32", read: (b) => new Float32Array(b) },
  I32: { bytes: 4, dtype: "i32", read: (b) => new Int32Array(b) },
  U32: { bytes: 4, dtype: "u32", read: (b) => new Uint32Array(b) },
  F16: { bytes: 2, dtype: "f32", read: (b) => Float32Array.from(new Uint16Array(b), floatOfHalf) },
  BF16: { bytes: 2, dtype: "f32", read: (b) => floatsOfBrainFloats(new Uint16Array(b)) },
  BOOL: { bytes: 1, dtype: "bool", read: (b) => new Uint8Array(b) },
};

const written = { f64: "F64", f32: "F32", i32: "I32", u32: "U32", bool: "BOOL" } satisfies { [D in DType]: string };

/** IEEE binary16: 1 sign bit, 5 of exponent, 10 of fraction. */
function floatOfHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (exponent - 25);
}

/** A bfloat16 is the upper half of an f32. */
function floatsOfBrainFloats(halves: Uint16Array): Float32Array {
  return new Float32Array(Uint32Array.from(halves, (bits) => bits << 16).buffer);
}

/** Typed arrays in the byte order of the machine are the format's little-endian bytes on every machine that runs JavaScript today. */
const bytesOf = (data: TypedArray): Uint8Array => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);

const fault = (source: string, what: string): FormatError =>
  new FormatError(`${source}: not a safetensors file: ${what}`);

/**
 * The bytes of a safetensors file: the length of the header (u64), the header (JSON, padded with blanks), the elements.
 * Wide elements come first, so that every tensor is aligned to its own size.
 */
export function encodeSafetensors(
  tensors: ReadonlyMap<string, HostTensor>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  const width = (t: HostTensor): number => encodings[written[t.dtype]].bytes;
  const sorted = [...tensors].toSorted(([a, x], [b, y]) => width(y) - width(x) || (a < b ? -1 : 1));
  let end = 0;
  const entries = sorted.map(([name, { dtype, shape, data }]) => {
    const begin = end;
    end += data.byteLength;
    return [name, { dtype: written[dtype], shape, data_offsets: [begin, end] }] as const;
  });
  const noted = Object.keys(metadata).length > 0 ? [["__metadata__", metadata] as const] : [];
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries<unknown>([...noted, ...entries])));
  const headerLength = Math.ceil(json.length / 8) * 8;
  const out = new Uint8Array(8 + headerLength + end);
  new DataView(out.buffer).setBigUint64(0, BigInt(headerLength), true);
  out.fill(0x20, 8, 8 + headerLength).set(json, 8);
  let at = 8 + headerLength;
  for (const [, { data }] of sorted) {
    out.set(bytesOf(data), at);
    at += data.byteLength;
  }
  return out;
}

/**
 * Reads the bytes of a safetensors file. F16 and BF16 become f32.
 *
 * @param source for messages.
 * @throws {FormatError} unless the header is sound and its tensors fill the file without gap or overlap.
 */
export function decodeSafetensors(bytes: Uint8Array, source: string): SafetensorsContents {
  if (bytes.length < 8) throw fault(source, `${bytes.length} bytes are too few for a header`);
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  if (length > bytes.length - 8) throw fault(source, `the header would have ${length} bytes of ${bytes.length - 8}`);
  const { __metadata__: metadata = {}, ...entries } = parseHeader(bytes.subarray(8, 8 + length), source);
  if (!isRecord(metadata) || Object.values(metadata).some((value) => typeof value !== "string"))
    throw fault(source, "__metadata__ must hold strings");
  const body = bytes.subarray(8 + length);
  const tensors = new Map<string, HostTensor>();
  let end = 0;
  const placed = Object.entries(entries).map(([name, entry]) => [name, checkEntry(name, entry, source)] as const);
  for (const [name, entry] of placed.toSorted(([, a], [, b]) => a.begin - b.begin || a.end - b.end)) {
    if (entry.begin !== end)
      throw fault(source, `"${name}" begins at ${entry.begin}, not at ${end}, where the last ends`);
    end = entry.end;
    if (end > body.length) throw fault(source, `it ends within "${name}": ${end} bytes wanted, ${body.length} there`);
    // A copy: aligned, and not keeping the whole file alive. Of the buffer, since `slice` of a Node Buffer copies nothing.
    const from = body.byteOffset + entry.begin;
    const data = entry.encoding.read(body.buffer.slice(from, body.byteOffset + end));
    tensors.set(name, { dtype: entry.encoding.dtype, shape: entry.shape, data });
  }
  if (end !== body.length) throw fault(source, `${body.length - end} bytes follow the last tensor`);
  return { tensors, metadata: metadata as Record<string, string> };
}

const isRecord = (x: unknown): x is Record<string, unknown> => typeof x === "object" && x !== null && !Array.isArray(x);

function parseHeader(bytes: Uint8Array, source: string): Record<string, unknown> {
  try {
    const header: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    if (isRecord(header)) return header;
  } catch {
    // Not JSON, or not UTF-8: the same to whoever wanted to read the file.
  }
  throw fault(source, "the header is not a JSON object");
}

interface Entry {
  readonly encoding: Encoding;
  readonly shape: Shape;
  readonly begin: number;
  readonly end: number;
}

function checkEntry(name: string, entry: unknown, source: string): Entry {
  const { dtype, shape, data_offsets: offsets } = isRecord(entry) ? entry : {};
  const whole = (x: unknown): x is number[] => Array.isArray(x) && x.every((n) => Number.isSafeInteger(n) && n >= 0);
  if (typeof dtype !== "string" || !whole(shape) || !whole(offsets) || offsets.length !== 2)
    throw fault(source, `the entry "${name}" needs dtype, shape and two data_offsets`);
  if (!Object.hasOwn(encodings, dtype))
    throw new FormatError(
      `${source}: "${name}" has elements of ${dtype}, which no dtype here can hold; readable are ${Object.keys(encodings).join(", ")}`,
    );
  const [begin, end] = offsets;
  const wanted = sizeOf(shape) * encodings[dtype].bytes;
  if (end - begin !== wanted)
    throw fault(source, `"${name}", ${dtype}[${shape}], takes ${wanted} bytes but is given ${end - begin}`);
  return { encoding: encodings[dtype], shape, begin, end };
}

/** The bytes of a source, and its name for messages. */
export async function bytesOfSource(source: ByteSource): Promise<{ bytes: Uint8Array; name: string }> {
  if (typeof source === "string") return { bytes: await files.readBytes(source), name: source };
  if (source instanceof Uint8Array) return { bytes: source, name: "the given bytes" };
  if (source instanceof Blob) return { bytes: new Uint8Array(await source.arrayBuffer()), name: "the given Blob" };
  const response = await fetch(source);
  if (!response.ok) throw new FormatError(`${source}: the server answered ${response.status} ${response.statusText}`);
  return { bytes: new Uint8Array(await response.arrayBuffer()), name: source.href };
}

/** The tensors of a safetensors file, by name, on the default device. @throws {FormatError} if it is not one. */
export async function loadSafetensors(source: ByteSource): Promise<Record<string, Tensor>> {
  const { bytes, name } = await bytesOfSource(source);
  const { tensors } = decodeSafetensors(bytes, name);
  return Object.fromEntries([...tensors].map(([key, { data, shape, dtype }]) => [key, tensor(data, { shape, dtype })]));
}

/**
 * Writes tensors to a safetensors file, whole or not at all.
 *
 * @param metadata strings to note beside them.
 */
export async function saveSafetensors(
  path: string,
  tensors: Readonly<Record<string, Tensor>>,
  metadata?: Readonly<Record<string, string>>,
): Promise<void> {
  await files.writeAtomically(path, encodeSafetensors(await onHost(Object.entries(tensors)), metadata));
}

/** The elements of named tensors on the host, read in one submission. */
export async function onHost(entries: readonly (readonly [string, Tensor])[]): Promise<Map<string, HostTensor>> {
  const host = await Promise.all(
    entries.map(async ([name, t]) => [name, { dtype: t.dtype, shape: t.shape, data: await t.data() }] as const),
  );
  const out = new Map(host);
  if (out.size !== host.length)
    throw new ConfigError(
      `saveSafetensors: two tensors have one name (names are ${host.map(([name]) => name).join(", ")})`,
    );
  if (out.has("__metadata__"))
    throw new ConfigError('saveSafetensors: "__metadata__" is the format\'s own; rename the tensor');
  return out;
}
