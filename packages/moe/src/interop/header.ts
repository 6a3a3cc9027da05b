import { FormatError, type Shape } from "@switchyard/tensor";
import { sizeOf } from "@switchyard/tensor/graph";
import { elementTypes, isElementType, type ElementTypeName } from "./elementTypes.ts";

/** Where a tensor lies in a safetensors file. */
export interface Entry {
  readonly type: ElementTypeName;
  readonly shape: Shape;
  /** Bytes from the beginning of the file. */
  readonly begin: number;
  readonly end: number;
}

export interface Header {
  /** In the order of the file. */
  readonly entries: ReadonlyMap<string, Entry>;
  /** What the writer noted beside the tensors. */
  readonly metadata: Readonly<Record<string, string>>;
}

/** The format's own limit: a longer header is no header. */
const longest = 100_000_000;
/** How many bytes tell how long the header is. */
export const prefixLength = 8;

const fault = (source: string, what: string): FormatError =>
  new FormatError(`${source}: not a safetensors file: ${what}`);

/**
 * How long the header is, by the first eight bytes of a file.
 *
 * @param size of the file.
 */
export function headerLength(prefix: Uint8Array, size: number, source: string): number {
  if (size < prefixLength) throw fault(source, `${size} bytes are too few for a header`);
  const length = Number(new DataView(prefix.buffer, prefix.byteOffset).getBigUint64(0, true));
  if (length > size - prefixLength)
    throw fault(source, `the header would have ${length} bytes of ${size - prefixLength}`);
  if (length > longest) throw fault(source, `the header would have ${length} bytes; at most ${longest} are allowed`);
  return length;
}

/**
 * Reads a header.
 *
 * @param bytes the header alone.
 * @param size of the whole file.
 * @param source for messages.
 * @throws {FormatError} unless it is sound and its tensors fill the file without gap or overlap.
 */
export function readHeader(bytes: Uint8Array, size: number, source: string): Header {
  const { __metadata__: metadata = {}, ...rest } = parseHeader(bytes, source);
  if (!isRecord(metadata) || Object.values(metadata).some((value) => typeof value !== "string"))
    throw fault(source, "__metadata__ must hold strings");
  const first = prefixLength + bytes.length;
  const placed = Object.entries(rest).map(([name, entry]) => [name, checkEntry(name, entry, first, source)] as const);
  const sorted = placed.toSorted(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  let end = first;
  for (const [name, entry] of sorted) {
    if (entry.begin !== end)
      throw fault(source, `"${name}" begins at ${entry.begin - first}, not at ${end - first}, where the last ends`);
    end = entry.end;
    if (end > size) throw fault(source, `it ends within "${name}": ${end - first} bytes wanted, ${size - first} there`);
  }
  if (end !== size) throw fault(source, `${size - end} bytes follow the last tensor`);
  return { entries: new Map(sorted), metadata: metadata as Record<string, string> };
}

const isRecord = (x: unknown): x is Record<string, unknown> => typeof x === "object" && x !== null && !Array.isArray(x);

function parseHeader(bytes: Uint8Array, source: string): Record<string, unknown> {
  let header: unknown;
  let text = "";
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    header = JSON.parse(text);
  } catch {
    // Not JSON, or not UTF-8: the same to whoever wanted to read the file.
  }
  if (!isRecord(header)) throw fault(source, "the header is not a JSON object");
  const twice = repeatedKey(text);
  if (twice !== undefined) throw fault(source, `the header has ${twice} twice`);
  return header;
}

/** A key that an object of some JSON has twice, in quotes: `JSON.parse` keeps the last and says nothing. */
function repeatedKey(json: string): string | undefined {
  const open: Set<string>[] = [];
  // Strings with the colon that makes them keys, and braces; what else there is needs no look.
  for (const [token, text, colon] of json.matchAll(/("(?:[^"\\]|\\.)*")(\s*:)?|[{}]/g)) {
    if (token === "{") open.push(new Set());
    else if (token === "}") open.pop();
    else if (colon) {
      const key = JSON.parse(text) as string;
      if (open.at(-1)!.has(key)) return text;
      open.at(-1)!.add(key);
    }
  }
  return undefined;
}

function checkEntry(name: string, entry: unknown, first: number, source: string): Entry {
  const { dtype, shape, data_offsets: offsets } = isRecord(entry) ? entry : {};
  const whole = (x: unknown): x is number[] => Array.isArray(x) && x.every((n) => Number.isSafeInteger(n) && n >= 0);
  if (typeof dtype !== "string" || !whole(shape) || !whole(offsets) || offsets.length !== 2)
    throw fault(source, `the entry "${name}" needs dtype, shape and two data_offsets`);
  if (!isElementType(dtype))
    throw new FormatError(
      `${source}: "${name}" has elements of ${dtype}, which no dtype here can hold; readable are ${Object.keys(elementTypes).join(", ")}`,
    );
  const [begin, end] = offsets;
  const wanted = sizeOf(shape) * elementTypes[dtype].bytes;
  if (end - begin !== wanted)
    throw fault(source, `"${name}", ${dtype}[${shape}], takes ${wanted} bytes but is given ${end - begin}`);
  return { type: dtype, shape, begin: first + begin, end: first + end };
}
