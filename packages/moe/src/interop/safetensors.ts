import { ConfigError, tensor, type DType, type Shape, type Tensor, type TypedArray } from "@switchyard/tensor";
import { sizeOf } from "@switchyard/tensor/graph";
import { openBytes, type Bytes, type ByteSource } from "./byteSource.ts";
import { bytesOf, elementTypeOf, elementTypes, type FloatFormat } from "./elementTypes.ts";
import { headerLength, prefixLength, readHeader, type Entry } from "./header.ts";
import * as files from "#files";

/** One tensor of a file: its elements on the host. */
export interface HostTensor {
  readonly dtype: DType;
  readonly shape: Shape;
  readonly data: TypedArray;
  /** Whether it was read from halves, as which f16 is written. */
  readonly isHalf?: true;
}

export interface SafetensorsContents {
  readonly tensors: ReadonlyMap<string, HostTensor>;
  /** What the writer noted beside the tensors. */
  readonly metadata: Readonly<Record<string, string>>;
}

/** One tensor to write: its elements are asked for when its turn comes. */
export interface TensorSource extends Pick<HostTensor, "dtype" | "shape"> {
  readonly read: () => Promise<TypedArray>;
}

/**
 * The bytes of a safetensors file, the tensors in the order of their names.
 *
 * @param floats how f32 is written.
 */
export function encodeSafetensors(
  tensors: ReadonlyMap<string, HostTensor>,
  metadata: Readonly<Record<string, string>> = {},
  floats: FloatFormat = "F32",
): Uint8Array {
  const { header, placed, size } = layoutOf(
    [...tensors].toSorted(([a], [b]) => (a < b ? -1 : 1)),
    metadata,
    floats,
  );
  const out = new Uint8Array(header.length + size);
  out.set(header);
  for (const { name, type, begin } of placed) out.set(bytesOf(tensors.get(name)!.data, type), header.length + begin);
  return out;
}

/** The same piece by piece, the tensors in the order they are given: one at a time is asked for. */
export async function* safetensorsPieces(
  tensors: ReadonlyMap<string, TensorSource>,
  metadata: Readonly<Record<string, string>> = {},
  floats: FloatFormat = "F32",
): AsyncGenerator<Uint8Array> {
  const { header, placed } = layoutOf([...tensors], metadata, floats);
  yield header;
  for (const { name, type } of placed) yield bytesOf(await tensors.get(name)!.read(), type);
}

/**
 * Where tensors lie in a file: the length of the header (u64), the header (JSON, padded with blanks), the elements. Wide elements come
 * first, so that every tensor is aligned to its own size.
 */
function layoutOf(
  tensors: readonly (readonly [string, Pick<HostTensor, "dtype" | "shape">])[],
  metadata: Readonly<Record<string, string>>,
  floats: FloatFormat,
) {
  const typed = tensors.map(([name, { dtype, shape }]) => ({ name, shape, type: elementTypeOf(dtype, floats) }));
  let size = 0;
  const placed = typed
    .toSorted((a, b) => elementTypes[b.type].bytes - elementTypes[a.type].bytes)
    .map((t) => {
      const begin = size;
      size += sizeOf(t.shape) * elementTypes[t.type].bytes;
      return { ...t, begin, end: size };
    });
  const entries = placed.map(
    ({ name, type, shape, begin, end }) => [name, { dtype: type, shape, data_offsets: [begin, end] }] as const,
  );
  const noted = Object.keys(metadata).length > 0 ? [["__metadata__", metadata] as const] : [];
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries<unknown>([...noted, ...entries])));
  const first = prefixLength + Math.ceil(json.length / 8) * 8;
  const header = new Uint8Array(first).fill(0x20, prefixLength);
  new DataView(header.buffer).setBigUint64(0, BigInt(first - prefixLength), true);
  header.set(json, prefixLength);
  return { header, placed, size };
}

/**
 * Reads the bytes of a safetensors file. Halves become f32; integers of 8, 16 and 64 bits i32, or u32 if they have no sign.
 *
 * @param source for messages.
 * @throws {FormatError} unless the header is sound and its tensors fill the file without gap or overlap.
 */
export function decodeSafetensors(bytes: Uint8Array, source: string): SafetensorsContents {
  const first = prefixLength + headerLength(bytes, bytes.length, source);
  const { entries, metadata } = readHeader(bytes.subarray(prefixLength, first), bytes.length, source);
  const tensors = new Map<string, HostTensor>();
  for (const [name, entry] of entries) {
    // A copy: aligned, and not keeping the whole file alive. Of the buffer, since `slice` of a Node Buffer copies nothing.
    const elements = bytes.buffer.slice(bytes.byteOffset + entry.begin, bytes.byteOffset + entry.end);
    tensors.set(name, hostTensor(elements, entry, `${source}: "${name}"`));
  }
  return { tensors, metadata };
}

function hostTensor(elements: ArrayBufferLike, { type, shape }: Entry, name: string): HostTensor {
  const { dtype, read } = elementTypes[type];
  return { dtype, shape, data: read(elements, name), ...(type === "F16" && { isHalf: true }) };
}

/** Tensors that are read one at a time, when they are asked for. */
export interface LazyTensors {
  /** For messages. */
  readonly name: string;
  /** What is there: read from the headers alone. */
  readonly entries: ReadonlyMap<string, { readonly dtype: DType; readonly shape: Shape }>;
  /** @throws {FormatError} if an element fits no dtype here. */
  read(name: string): Promise<HostTensor>;
  close(): Promise<void>;
}

/** Opens a safetensors file and reads its header. @throws {FormatError} if it is not one. */
export async function openSafetensors(source: ByteSource): Promise<LazyTensors> {
  const bytes = await openBytes(source);
  try {
    const entries = await entriesOf(bytes);
    const described = [...entries].map(
      ([name, { type, shape }]) => [name, { dtype: elementTypes[type].dtype, shape }] as const,
    );
    return {
      name: bytes.name,
      entries: new Map(described),
      async read(name) {
        const entry = entries.get(name)!;
        const elements = await bytes.read(entry.begin, entry.end);
        return hostTensor(elements.buffer, entry, `${bytes.name}: "${name}"`);
      },
      close: () => bytes.close(),
    };
  } catch (error) {
    await bytes.close();
    throw error;
  }
}

async function entriesOf(bytes: Bytes): Promise<ReadonlyMap<string, Entry>> {
  const prefix = await bytes.read(0, Math.min(prefixLength, bytes.size));
  const first = prefixLength + headerLength(prefix, bytes.size, bytes.name);
  return readHeader(await bytes.read(prefixLength, first), bytes.size, bytes.name).entries;
}

/** The tensors of a safetensors file, by name, on the default device. @throws {FormatError} if it is not one. */
export async function loadSafetensors(source: ByteSource): Promise<Record<string, Tensor>> {
  const opened = await openSafetensors(source);
  try {
    const loaded: [string, Tensor][] = [];
    for (const name of opened.entries.keys()) {
      const { data, shape, dtype } = await opened.read(name);
      loaded.push([name, tensor(data, { shape, dtype })]);
    }
    return Object.fromEntries(loaded);
  } finally {
    await opened.close();
  }
}

export interface SaveSafetensorsOptions {
  /** Strings to note beside the tensors. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** How f32 is written; `F32` by default. */
  readonly floats?: FloatFormat;
}

/** Writes tensors to a safetensors file, whole or not at all. */
export async function saveSafetensors(
  path: string,
  tensors: Readonly<Record<string, Tensor>>,
  { metadata, floats }: SaveSafetensorsOptions = {},
): Promise<void> {
  await files.writeAtomically(path, encodeSafetensors(await onHost(Object.entries(tensors)), metadata, floats));
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
