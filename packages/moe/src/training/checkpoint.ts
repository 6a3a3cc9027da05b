import { ConfigError, FormatError, tensor, type Tensor } from "@switchyard/tensor";
import { treeFlatten, treePaths, treeUnflatten, type TreeStructure } from "@switchyard/autograd";
import { describe } from "@switchyard/tensor/graph";
import {
  bytesOfSource,
  decodeSafetensors,
  encodeSafetensors,
  onHost,
  type ByteSource,
  type HostTensor,
} from "../interop/safetensors.ts";
import * as files from "#files";

/** The parts of a checkpoint: what a model is, and what its training must remember. */
type Part = "model" | "training";

const manifestName = "checkpoint.json";
const fileOf = (part: Part): string => `${part}.safetensors`;

/** Leaves of a tree that are not tensors, by path. */
type Constants = { [path: string]: number | string | boolean | null };

interface Manifest {
  readonly format: "switchyard checkpoint";
  readonly version: 1;
  readonly constants: { readonly [P in Part]?: Constants };
}

/**
 * Writes a directory with the parameters in `model.safetensors`, the tensors of `training` in `training.safetensors`, and the other
 * leaves of both trees in `checkpoint.json`. The directory is there whole or not at all; an earlier checkpoint is replaced.
 *
 * @param training what else to keep, such as an optimizer's state: any tree.
 * @throws {ConfigError} if something that is no checkpoint is in the way, or a leaf fits neither file.
 */
export async function saveCheckpoint(dir: string, params: unknown, training?: unknown): Promise<void> {
  const inTheWay = (await files.exists(dir)) && !(await files.exists(files.joinPath(dir, manifestName)));
  if (inTheWay && (await files.listDirectory(dir)).length > 0)
    throw new ConfigError(`saveCheckpoint: ${dir} holds something that is no checkpoint; give another directory`);
  const parts: [Part, unknown][] =
    training === undefined
      ? [["model", params]]
      : [
          ["model", params],
          ["training", training],
        ];
  // Read together, before anything is written.
  const read = await Promise.all(
    parts.map(async ([part, tree]) => [part, tree, await onHost(namedTensors(tree))] as const),
  );
  const manifest: Manifest = {
    format: "switchyard checkpoint",
    version: 1,
    constants: Object.fromEntries(read.map(([part, tree]) => [part, constantsOf(tree)])),
  };
  const json = new TextEncoder().encode(`${JSON.stringify(manifest, null, 2)}\n`);
  const contents = read.map(([part, , tensors]) => [fileOf(part), encodeSafetensors(tensors)] as const);
  await files.writeDirectoryAtomically(dir, new Map([...contents, [manifestName, json]]));
}

/**
 * Parameters from a checkpoint, or from any safetensors file whose names are the paths of `like`.
 *
 * @param source a checkpoint's directory, or one that holds checkpoints by step, of which the newest is taken; or a safetensors
 * file, as a path, a URL, a Blob or bytes.
 * @param like a tree of the same structure, such as `model.init(key)`; it is not computed. Tensors that the source has beyond those
 * of `like` are left alone.
 * @throws {FormatError} if a tensor is missing, or has another shape or dtype.
 */
export async function loadCheckpoint<P>(source: ByteSource, like: P): Promise<P> {
  if (typeof source !== "string" || source.endsWith(".safetensors")) {
    const { bytes, name } = await bytesOfSource(source);
    return fill(like, decodeSafetensors(bytes, name).tensors, {}, name);
  }
  return loadPart(await newestCheckpoint(source), "model", like);
}

/** What `saveCheckpoint` was given as `training`. */
export const loadTraining = async <T>(dir: string, like: T): Promise<T> =>
  loadPart(await newestCheckpoint(dir), "training", like);

async function loadPart<T>(dir: string, part: Part, like: T): Promise<T> {
  const manifest = parseManifest(await files.readBytes(files.joinPath(dir, manifestName)), dir);
  const constants = manifest.constants[part];
  if (!constants) throw new FormatError(`${dir}: the checkpoint has no part "${part}"; it was saved without`);
  const path = files.joinPath(dir, fileOf(part));
  return fill(like, decodeSafetensors(await files.readBytes(path), path).tensors, constants, path);
}

const stepName = /^step-(\d+)$/;
/** A checkpoint by its step, or a draft of one. */
const partOfRun = /^(step-\d+|\.step-\d+\..+)$/;

/** Where the checkpoint after a number of steps lies in a run's directory. */
export const checkpointOfStep = (dir: string, steps: number): string => files.joinPath(dir, `step-${steps}`);

/** The steps after which a directory holds a checkpoint, ascending. */
export async function stepsIn(dir: string): Promise<number[]> {
  const names = await files.listDirectory(dir);
  const steps = names.flatMap((name) => Number(stepName.exec(name)?.[1] ?? NaN)).filter((step) => !Number.isNaN(step));
  return steps.toSorted((a, b) => a - b);
}

/** Removes a run's checkpoints but for one, and drafts of others that a process left when it was killed. */
export async function keepOnly(dir: string, steps: number): Promise<void> {
  const kept = checkpointOfStep("", steps);
  for (const name of await files.listDirectory(dir))
    if (partOfRun.test(name) && name !== kept) await files.remove(files.joinPath(dir, name));
}

async function newestCheckpoint(dir: string): Promise<string> {
  const at = await files.standing(dir);
  if (await files.exists(files.joinPath(at, manifestName))) return at;
  const newest = (await stepsIn(dir)).at(-1);
  if (newest === undefined) throw new ConfigError(`${dir} holds no checkpoint`);
  return checkpointOfStep(dir, newest);
}

function parseManifest(bytes: Uint8Array, dir: string): Manifest {
  try {
    const manifest = JSON.parse(new TextDecoder().decode(bytes)) as Manifest;
    if (manifest.format === "switchyard checkpoint" && manifest.version === 1) return manifest;
  } catch {
    // No JSON: as little a manifest as JSON of another kind.
  }
  throw new FormatError(`${dir}: ${manifestName} is not that of a checkpoint this version can read`);
}

const namedTensors = (tree: unknown): [string, Tensor][] => {
  const [leaves] = treeFlatten(tree);
  return treePaths(tree).map((path, i) => [path, leaves[i]]);
};

const below = (path: string, key: string | number): string => (path === "" ? `${key}` : `${path}.${key}`);

/** Calls `visit` for each constant of a structure and puts what it returns in the constant's place. */
function mapConstants(
  structure: TreeStructure,
  visit: (value: unknown, path: string) => unknown,
  path = "",
): TreeStructure {
  if (structure.kind === "array")
    return { kind: "array", items: structure.items.map((item, i) => mapConstants(item, visit, below(path, i))) };
  if (structure.kind === "object") {
    const entries = structure.entries.map(([key, x]) => [key, mapConstants(x, visit, below(path, key))] as const);
    return { kind: "object", entries };
  }
  return structure.kind === "leaf" ? structure : { kind: "constant", value: visit(structure.value, path) };
}

function constantsOf(tree: unknown): Constants {
  const constants: Constants = {};
  mapConstants(treeFlatten(tree)[1], (value, path) => {
    if (value === undefined) return value;
    if (value !== null && !Number.isFinite(value) && typeof value !== "string" && typeof value !== "boolean")
      throw new ConfigError(
        `saveCheckpoint: ${path || "the root"} is ${typeof value === "number" ? value : `a ${typeof value}`}; a checkpoint holds tensors, finite numbers, strings and booleans`,
      );
    constants[path] = value as Constants[string];
    return value;
  });
  return constants;
}

/** A tree like `like` with the tensors and constants of a file. */
function fill<T>(like: T, tensors: ReadonlyMap<string, HostTensor>, constants: Constants, source: string): T {
  const [, structure] = treeFlatten(like);
  const leaves = namedTensors(like).map(([path, wanted]) => {
    const found = tensors.get(path);
    if (!found) throw new FormatError(`${source}: has no tensor "${path}"; was it saved from another model?`);
    if (describe(found) !== describe(wanted))
      throw new FormatError(
        `${source}: "${path}" is ${describe(found)}, wanted ${describe(wanted)}; was it saved from another model?`,
      );
    return tensor(found.data, { shape: found.shape, dtype: found.dtype, device: wanted.device });
  });
  const filled = mapConstants(structure, (value, path) => (Object.hasOwn(constants, path) ? constants[path] : value));
  return treeUnflatten(filled, leaves);
}
