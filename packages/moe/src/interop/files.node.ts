import { createHash, randomUUID } from "node:crypto";
import { constants, createReadStream } from "node:fs";
import {
  access,
  appendFile,
  link,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  type FileHandle,
} from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { ConfigError, FormatError } from "@switchyard/tensor";
import type { Bytes } from "./byteSource.ts";

export { hasEnded, removeWithProcess, thisProcess } from "./processes.node.ts";

/** The bytes of a file. @throws {ConfigError} if there is none, or it cannot be read. */
export async function readBytes(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (error) {
    throw new ConfigError(`cannot read ${path}: ${reasonOf(error)}`);
  }
}

/** A file that is read by range. @throws {ConfigError} if there is none, or it cannot be read. */
export async function openFile(path: string): Promise<Bytes> {
  let file: FileHandle | undefined;
  try {
    file = await open(path, "r");
    const { size } = await file.stat();
    await file.read(new Uint8Array(1), 0, 1, 0); // a directory can be opened, but not read
    return fileBytes(path, file, size);
  } catch (error) {
    await file?.close();
    throw new ConfigError(`cannot read ${path}: ${reasonOf(error)}`);
  }
}

const fileBytes = (path: string, file: FileHandle, size: number): Bytes => ({
  name: path,
  size,
  async read(begin, end) {
    const bytes = new Uint8Array(end - begin);
    for (let at = 0; at < bytes.length;) {
      const { bytesRead } = await file.read(bytes, at, bytes.length - at, begin + at);
      if (bytesRead === 0) throw new FormatError(`${path}: has become shorter while it was read`);
      at += bytesRead;
    }
    return bytes;
  },
  close: () => file.close(),
});

/** The names in a directory; none if there is no such directory. */
export async function listDirectory(path: string): Promise<string[]> {
  try {
    return await readdir(path);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return [];
    throw new ConfigError(`cannot list ${path}: ${reasonOf(error)}`);
  }
}

/** Whether something is there. */
export const exists = (path: string): Promise<boolean> =>
  access(path, constants.F_OK).then(
    () => true,
    () => false,
  );

/** Removes a file or a directory with what is in it; nothing if it is not there. */
export const remove = (path: string): Promise<void> => rm(path, { recursive: true, force: true });

/** What to write: bytes, or pieces of them, one at a time. What asking for a piece throws is thrown as it is. */
type Written = Uint8Array | AsyncIterable<Uint8Array>;

/** Writes a file so that it is there whole or, whatever happens, not at all. An earlier one stays until then. */
export async function writeAtomically(path: string, bytes: Written): Promise<void> {
  const draft = draftOf(path);
  await published(path, draft, async () => {
    await mkdir(dirname(path), { recursive: true });
    await writeDurably(draft, bytes);
    await rename(draft, path);
  });
}

/** Writes a file, whole, if it is not there yet. @returns whether this call made it: of several at once, one's does. */
export async function createWhole(path: string, text: string): Promise<boolean> {
  const draft = draftOf(path);
  const bytes = new TextEncoder().encode(text);
  const unless = async (codes: readonly string[], make: Promise<void>): Promise<boolean> =>
    make.then(
      () => true,
      (error: unknown) => {
        if (codes.includes(codeOf(error) ?? "")) return false;
        throw error;
      },
    );
  let isMade = false;
  await published(path, draft, async () => {
    await mkdir(dirname(path), { recursive: true });
    await writeDurably(draft, bytes);
    try {
      // Who holds the directory clears away drafts, this one's too.
      isMade = await unless(["EEXIST", "ENOENT"], link(draft, path));
    } catch {
      // A file system without links: a reader may see the file before its text.
      isMade = await unless(["EEXIST"], writeDurably(path, bytes));
    }
    await remove(draft);
  });
  return isMade;
}

/** The text of a file; undefined if there is none. */
export async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw new ConfigError(`cannot read ${path}: ${reasonOf(error)}`);
  }
}

/** Gives a file a name that no one else knows. @returns the name; undefined if it was not there. */
export async function moveAside(path: string): Promise<string | undefined> {
  const aside = draftOf(path);
  try {
    await rename(path, aside);
    return aside;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw new ConfigError(`cannot move ${path}: ${reasonOf(error)}`);
  }
}

/** A text in blocks of about a megabyte, each but the last with a line's end at its end. */
export async function* textBlocks(path: string): AsyncGenerator<string> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let rest = "";
  try {
    for await (const bytes of createReadStream(path, { highWaterMark: 2 ** 20 }) as AsyncIterable<Uint8Array>) {
      const text = rest + decoder.decode(bytes, { stream: true });
      const border = text.lastIndexOf("\n") + 1;
      rest = text.slice(border);
      if (border > 0) yield text.slice(0, border);
    }
    rest += decoder.decode();
  } catch (error) {
    if (error instanceof TypeError) throw new FormatError(`${path} is not UTF-8 text`);
    throw new ConfigError(`cannot read ${path}: ${reasonOf(error)}`);
  }
  if (rest !== "") yield rest;
}

/** Adds to the end of a file, which is made if it is not there. It is on the disk for certain once `settle` says so. */
export async function append(path: string, text: string): Promise<void> {
  try {
    await appendFile(path, text);
  } catch (error) {
    throw new ConfigError(`cannot write ${path}: ${reasonOf(error)}`);
  }
}

/** Waits until what was written to a file is on the disk. */
export async function settle(path: string): Promise<void> {
  const file = await open(path, "r+");
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

/** SHA-256, in hexadecimal. */
export const digest = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/**
 * Writes a directory of files so that it is there whole or not at all. One that is there already is replaced: it is put aside
 * for the moment in which neither has the name, and `standing` finds it if the process dies in that moment.
 */
export async function writeDirectoryAtomically(path: string, files: ReadonlyMap<string, Written>): Promise<void> {
  const draft = draftOf(path);
  const aside = asideOf(path);
  try {
    await published(path, draft, async () => {
      await mkdir(draft, { recursive: true });
      for (const [name, bytes] of files) await writeDurably(join(draft, name), bytes);
      if (await exists(path)) {
        await remove(aside);
        await rename(path, aside);
      }
      await rename(draft, path);
      await remove(aside);
    });
  } catch (error) {
    if ((await standing(path)) === aside) await rename(aside, path);
    throw error;
  }
}

/** Where a directory lies that `writeDirectoryAtomically` wrote: under its name, or aside, if a later write died half-way. */
export async function standing(path: string): Promise<string> {
  const aside = asideOf(path);
  return !(await exists(path)) && (await exists(aside)) ? aside : path;
}

/** The path that the URL of a file stands for. */
export const pathOf = (url: URL): string => fileURLToPath(url);

/** Joins parts of a path. */
export const joinPath = join;

/** The name of what a path leads to: for `.`, that of the directory. */
export const nameOf = (path: string): string => basename(resolve(path));

/** Makes a directory and those above it. @returns whether this call made it: of several at once, one's does. */
export const makeDirectory = async (path: string): Promise<boolean> =>
  (await mkdir(path, { recursive: true })) !== undefined;

/** Beside the target, so that the rename stays within one file system; hidden, so that nobody takes it for a result. */
const hidden = (path: string, suffix: string): string => join(dirname(path), `.${basename(path)}.${suffix}`);
const draftOf = (path: string): string => hidden(path, randomUUID().slice(0, 8));
const asideOf = (path: string): string => hidden(path, "old");

async function published(path: string, draft: string, write: () => Promise<void>): Promise<void> {
  try {
    await write();
  } catch (error) {
    await remove(draft).catch(() => {}); // there may be nothing to remove, or nowhere to remove it from
    throw codeOf(error) === undefined ? error : new ConfigError(`cannot write ${path}: ${reasonOf(error)}`);
  }
}

async function writeDurably(path: string, bytes: Written): Promise<void> {
  const file = await open(path, "wx");
  try {
    await file.writeFile(bytes);
    // A rename may reach the disk before the bytes do, unless they are asked to go first.
    await file.sync();
  } finally {
    await file.close();
  }
}

const codeOf = (error: unknown): string | undefined => (error as { code?: string }).code;

const reasons: { readonly [code: string]: string } = {
  ENOENT: "there is no such file",
  EISDIR: "it is a directory",
  ENOTDIR: "a part of the path is a file",
  EACCES: "permission denied",
  ENOSPC: "the disk is full",
  EDQUOT: "the disk quota is used up",
  EFBIG: "the file would be larger than is allowed",
};

const reasonOf = (error: unknown): string => reasons[codeOf(error) ?? ""] ?? (error as Error).message;
