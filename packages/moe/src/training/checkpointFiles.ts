import { FormatError } from "@switchyard/tensor";
import { decodeSafetensors, encodeSafetensors, type HostTensor } from "../interop/safetensors.ts";
import * as files from "#files";

/** The parts of a checkpoint: what a model is, and what its training must remember. */
export type Part = "model" | "training";

/** Leaves of a tree that are not tensors, by path. */
export type Constants = { [path: string]: number | string | boolean | null };

/** A part on the host. */
export interface PartContents {
  readonly tensors: ReadonlyMap<string, HostTensor>;
  readonly constants: Constants;
}

interface Manifest {
  readonly format: "switchyard checkpoint";
  readonly version: 1;
  readonly constants: { readonly [P in Part]?: Constants };
  /** SHA-256 of each file of tensors. */
  readonly files: { readonly [name: string]: string };
}

/** SHA-256 of the manifest beside it, as JSON: a number changed by hand is found as a flipped bit is. */
interface SealedManifest extends Manifest {
  readonly seal: string;
}

const manifestName = "checkpoint.json";
const fileOf = (part: Part): string => `${part}.safetensors`;
const sealOf = (manifest: Manifest): string => files.digest(new TextEncoder().encode(JSON.stringify(manifest)));

/** Whether a directory is a checkpoint. */
export const isCheckpoint = (dir: string): Promise<boolean> => files.exists(files.joinPath(dir, manifestName));

/** Writes a checkpoint, whole or not at all. */
export async function writeCheckpoint(dir: string, parts: ReadonlyMap<Part, PartContents>): Promise<void> {
  const contents = new Map([...parts].map(([part, { tensors }]) => [fileOf(part), encodeSafetensors(tensors)]));
  const manifest: Manifest = {
    format: "switchyard checkpoint",
    version: 1,
    constants: Object.fromEntries([...parts].map(([part, { constants }]) => [part, constants])),
    files: Object.fromEntries([...contents].map(([name, bytes]) => [name, files.digest(bytes)])),
  };
  const sealed: SealedManifest = { ...manifest, seal: sealOf(manifest) };
  contents.set(manifestName, new TextEncoder().encode(`${JSON.stringify(sealed, null, 2)}\n`));
  await files.writeDirectoryAtomically(dir, contents);
}

/** @throws {FormatError} if the part is not there, or is not what was written. */
export async function readPart(dir: string, part: Part): Promise<PartContents & { readonly path: string }> {
  const manifest = await readManifest(dir);
  const constants = manifest.constants[part];
  if (!constants) throw new FormatError(`${dir}: the checkpoint has no part "${part}"; it was saved without`);
  const path = files.joinPath(dir, fileOf(part));
  const bytes = await readWhole(dir, fileOf(part), manifest);
  return { path, constants, tensors: decodeSafetensors(bytes, path).tensors };
}

/** What is wrong with the files of a checkpoint; undefined if they are as they were written. */
export async function damageOf(dir: string): Promise<string | undefined> {
  try {
    const manifest = await readManifest(dir);
    for (const name of Object.keys(manifest.files)) await readWhole(dir, name, manifest);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

async function readManifest(dir: string): Promise<Manifest> {
  const bytes = await files.readBytes(files.joinPath(dir, manifestName));
  let sealed: SealedManifest | undefined;
  try {
    sealed = JSON.parse(new TextDecoder().decode(bytes)) as SealedManifest;
  } catch {
    // No JSON: as little a manifest as JSON of another kind.
  }
  if (sealed?.format !== "switchyard checkpoint" || sealed.version !== 1)
    throw new FormatError(`${dir}: ${manifestName} is not that of a checkpoint this version can read`);
  const { seal, ...manifest } = sealed;
  if (seal !== sealOf(manifest)) throw new FormatError(`${dir}: ${manifestName} was changed after it was written`);
  return manifest;
}

async function readWhole(dir: string, name: string, manifest: Manifest): Promise<Uint8Array> {
  const path = files.joinPath(dir, name);
  const bytes = await files.readBytes(path);
  if (files.digest(bytes) !== manifest.files[name])
    throw new FormatError(`${path}: is not what was written: it was cut short or changed`);
  return bytes;
}
