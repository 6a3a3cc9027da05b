import { ConfigError, FormatError, tensor, type Tensor } from "@switchyard/tensor";
import { treeFlatten, treePaths, treeUnflatten, type TreeStructure } from "@switchyard/autograd";
import { describe } from "@switchyard/tensor/graph";
import { readAll, withoutFileUrl, type ByteSource } from "../interop/byteSource.ts";
import { decodeSafetensors, onHost, type HostTensor } from "../interop/safetensors.ts";
import * as files from "#files";
import { isCheckpoint, readPart, writeCheckpoint, type Constants, type Part } from "./checkpointFiles.ts";
import { readNewest } from "./history.ts";

/**
 * Writes a directory with the parameters in `model.safetensors`, the tensors of `training` in `training.safetensors`, and the other
 * leaves of both trees in `checkpoint.json`. The directory is there whole or not at all; an earlier checkpoint is replaced.
 *
 * @param training what else to keep, such as an optimizer's state: any tree.
 * @throws {ConfigError} if something that is no checkpoint is in the way, or a leaf fits neither file.
 */
export async function saveCheckpoint(dir: string, params: unknown, training?: unknown): Promise<void> {
  const inTheWay = (await files.exists(dir)) && !(await isCheckpoint(dir));
  if (inTheWay && (await files.listDirectory(dir)).length > 0)
    throw new ConfigError(`saveCheckpoint: ${dir} holds something that is no checkpoint; give another directory`);
  const trees: [Part, unknown][] = [["model", params]];
  if (training !== undefined) trees.push(["training", training]);
  // Read together, before anything is written.
  const parts = await Promise.all(
    trees.map(
      async ([part, tree]) =>
        [part, { tensors: await onHost(namedTensors(tree)), constants: constantsOf(tree) }] as const,
    ),
  );
  await writeCheckpoint(dir, new Map(parts));
}

/**
 * Parameters from a checkpoint, or from any safetensors file whose names are the paths of `like`.
 *
 * @param given a checkpoint's directory, or one that holds checkpoints by step, of which the newest is taken; or a safetensors
 * file. Either as a path or the URL of a file; a file, too, as a URL to fetch, a Blob or bytes.
 * @param like a tree of the same structure, such as `model.init(key)`; it is not computed. Tensors that the source has beyond those
 * of `like` are left alone.
 * @throws {FormatError} if a tensor is missing, or has another shape or dtype.
 */
export async function loadCheckpoint<P>(given: ByteSource, like: P): Promise<P> {
  const source = withoutFileUrl(given);
  if (typeof source !== "string" || source.endsWith(".safetensors")) {
    const { bytes, name } = await readAll(source);
    return fill(like, decodeSafetensors(bytes, name).tensors, {}, name);
  }
  return readNewest(source, (dir) => loadPart(dir, "model", like));
}

/** What `saveCheckpoint` was given as `training`. */
export const loadTraining = <T>(source: string, like: T): Promise<T> =>
  readNewest(source, (dir) => loadPart(dir, "training", like));

async function loadPart<T>(dir: string, part: Part, like: T): Promise<T> {
  const { tensors, constants, path } = await readPart(dir, part);
  return fill(like, tensors, constants, path);
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
    const dtype = found.isHalf && wanted.dtype === "f16" ? "f16" : found.dtype;
    if (describe({ ...found, dtype }) !== describe(wanted))
      throw new FormatError(
        `${source}: "${path}" is ${describe(found)}, wanted ${describe(wanted)}; was it saved from another model?`,
      );
    return tensor(found.data, { shape: found.shape, dtype, device: wanted.device });
  });
  const filled = mapConstants(structure, (value, path) => (Object.hasOwn(constants, path) ? constants[path] : value));
  return treeUnflatten(filled, leaves);
}
