import { ConfigError, FormatError } from "@switchyard/tensor";
import { sizeOf } from "@switchyard/tensor/graph";
import { elementTypeOf, elementTypes, type FloatFormat } from "./elementTypes.ts";
import {
  openSafetensors,
  safetensorsPieces,
  type HostTensor,
  type LazyTensors,
  type TensorSource,
} from "./safetensors.ts";
import * as files from "#files";

const single = "model.safetensors";
const indexName = `${single}.index.json`;

/**
 * The tensors of a directory with `model.safetensors`, or with several files of which `model.safetensors.index.json` tells what lies where.
 *
 * @throws {ConfigError} if there is neither.
 * @throws {FormatError} if a file is missing, or the index and the files differ.
 */
export async function openShards(dir: string): Promise<LazyTensors> {
  if (await files.exists(files.joinPath(dir, single))) return openSafetensors(files.joinPath(dir, single));
  if (!(await files.exists(files.joinPath(dir, indexName))))
    throw new ConfigError(`${dir} has neither ${single} nor ${indexName}`);
  const fileOf = await readIndex(files.joinPath(dir, indexName));
  const opened = new Map<string, LazyTensors>();
  const close = async (): Promise<void> => void (await Promise.all([...opened.values()].map((file) => file.close())));
  try {
    for (const file of new Set(fileOf.values())) opened.set(file, await openSafetensors(files.joinPath(dir, file)));
    const entries = [...fileOf].map(([name, file]) => {
      const entry = opened.get(file)!.entries.get(name);
      if (entry) return [name, entry] as const;
      throw new FormatError(`${dir}: ${indexName} places "${name}" in ${file}, which has no such tensor`);
    });
    const read = (name: string): Promise<HostTensor> => opened.get(fileOf.get(name)!)!.read(name);
    return { name: dir, entries: new Map(entries), read, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function readIndex(path: string): Promise<Map<string, string>> {
  try {
    const { weight_map: map } = JSON.parse(new TextDecoder().decode(await files.readBytes(path))) as {
      weight_map: Record<string, string>;
    };
    const entries = Object.entries(map);
    // A name with a path would lead out of the directory.
    if (entries.every(([, file]) => typeof file === "string" && /^[^/\\]+\.safetensors$/.test(file)))
      return new Map(entries);
  } catch {
    // No JSON, or no map in it: the same to whoever wanted to read it.
  }
  throw new FormatError(`${path} must hold a weight_map from names to .safetensors files beside it`);
}

/**
 * Files with the names that Hugging Face gives them, to be written one after the other: one, or several of at most so many bytes and
 * an index.
 *
 * @param limit in bytes; a tensor larger than that has a file to itself.
 */
export function shardFiles(
  tensors: ReadonlyMap<string, TensorSource>,
  { floats, limit }: { readonly floats: FloatFormat; readonly limit: number },
): Map<string, Uint8Array | AsyncIterable<Uint8Array>> {
  const bytes = ({ shape, dtype }: TensorSource): number =>
    sizeOf(shape) * elementTypes[elementTypeOf(dtype, floats)].bytes;
  const shards: Map<string, TensorSource>[] = [new Map()];
  let [held, total] = [0, 0];
  for (const [name, t] of tensors) {
    if (held > 0 && held + bytes(t) > limit) {
      shards.push(new Map());
      held = 0;
    }
    shards.at(-1)!.set(name, t);
    held += bytes(t);
    total += bytes(t);
  }
  const pieces = (shard: ReadonlyMap<string, TensorSource>): AsyncIterable<Uint8Array> =>
    safetensorsPieces(shard, { format: "pt" }, floats); // transformers opens no file without this note
  if (shards.length === 1) return new Map([[single, pieces(shards[0])]]);
  const number = (n: number): string => `${n}`.padStart(5, "0");
  const nameOf = (i: number): string => `model-${number(i + 1)}-of-${number(shards.length)}.safetensors`;
  const map = Object.fromEntries(shards.flatMap((shard, i) => [...shard.keys()].map((name) => [name, nameOf(i)])));
  const index = JSON.stringify({ metadata: { total_size: total }, weight_map: map }, null, 2);
  return new Map<string, Uint8Array | AsyncIterable<Uint8Array>>([
    ...shards.map((shard, i) => [nameOf(i), pieces(shard)] as const),
    [indexName, new TextEncoder().encode(`${index}\n`)],
  ]);
}
