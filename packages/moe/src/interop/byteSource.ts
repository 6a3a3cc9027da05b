import { ConfigError, FormatError } from "@switchyard/tensor";
import * as files from "#files";

/** Where bytes come from: a path, a URL (of a file, or to fetch), or the bytes themselves. */
export type ByteSource = string | URL | Blob | Uint8Array;

/** Bytes that are read by range, so that a file need not fit into memory. */
export interface Bytes {
  /** For messages. */
  readonly name: string;
  readonly size: number;
  /** Bytes `begin..end`, both within the size, in a buffer of their own. */
  read(begin: number, end: number): Promise<Uint8Array<ArrayBuffer>>;
  close(): Promise<void>;
}

const nothing = async (): Promise<void> => {};

/** The source, as a path if it is the URL of a file, such as `new URL("model.safetensors", import.meta.url)` in Node: fetch reads none. */
export const withoutFileUrl = (source: ByteSource): ByteSource =>
  source instanceof URL && source.protocol === "file:" ? files.pathOf(source) : source;

/** Opens a source; of a file or a URL, nothing but the size is read. */
export async function openBytes(given: ByteSource): Promise<Bytes> {
  const source = withoutFileUrl(given);
  if (typeof source === "string") return files.openFile(source);
  if (source instanceof URL) return openUrl(source);
  if (source instanceof Blob)
    return {
      name: "the given Blob",
      size: source.size,
      read: async (begin, end) => new Uint8Array(await source.slice(begin, end).arrayBuffer()),
      close: nothing,
    };
  return {
    name: "the given bytes",
    size: source.length,
    read: async (begin, end) => new Uint8Array(source.subarray(begin, end)),
    close: nothing,
  };
}

/** The bytes of a source from beginning to end. */
export async function readAll(source: ByteSource): Promise<{ bytes: Uint8Array; name: string }> {
  const bytes = await openBytes(source);
  try {
    return { bytes: await bytes.read(0, bytes.size), name: bytes.name };
  } finally {
    await bytes.close();
  }
}

/** A server that gives ranges is asked for them; from another, all is taken at once. */
async function openUrl(url: URL): Promise<Bytes> {
  const head = await fetched(url, { method: "HEAD" }).catch(() => undefined);
  const size = Number(head?.headers.get("content-length") ?? NaN);
  const byRange = head?.headers.get("accept-ranges") === "bytes" && Number.isSafeInteger(size);
  if (!byRange) return { ...(await openBytes(await (await fetched(url)).blob())), name: url.href };
  return {
    name: url.href,
    size,
    async read(begin, end) {
      if (begin === end) return new Uint8Array();
      const response = await fetched(url, { headers: { range: `bytes=${begin}-${end - 1}` } });
      const bytes = new Uint8Array(await response.arrayBuffer());
      if (response.status === 206 && bytes.length === end - begin) return bytes;
      throw new FormatError(`${url.href}: asked for ${end - begin} bytes, the server gave ${bytes.length}`);
    },
    close: nothing,
  };
}

async function fetched(url: URL, init?: RequestInit): Promise<Response> {
  const response = await fetch(url, init).catch((error: Error) => {
    const { message } = (error.cause ?? error) as Error;
    throw new ConfigError(`cannot read ${url.href}: ${message || error.message}`);
  });
  if (response.ok) return response;
  throw new FormatError(`${url.href}: the server answered ${response.status} ${response.statusText}`);
}
