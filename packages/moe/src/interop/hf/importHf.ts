import { DeviceError, defaultDevice, FormatError, random, tensor, type Tensor } from "@switchyard/tensor";
import { treeFlatten, treePaths, treeUnflatten } from "@switchyard/autograd";
import { sizeOf } from "@switchyard/tensor/graph";
import { openShards } from "../shards.ts";
import { checkSources, gathered, shapeOf, type Binding } from "./bindings.ts";
import type { HfConfig } from "./config.ts";
import { decoderBindings, decoderOf, familyOf, sizesOf, type HfModel, type HfParams } from "./decoder.ts";
import { loadTokenizer, type HfTokenizer } from "./tokenizer.ts";
import * as files from "#files";

export interface ImportedHf {
  readonly model: HfModel;
  readonly params: HfParams;
  /** Fails when it is used, if the directory has none. */
  readonly tokenizer: HfTokenizer;
  /** `config.json`, as it was read. */
  readonly config: HfConfig;
}

/**
 * Reads a model of Hugging Face's transformers: Mixtral or OLMoE, in one file of safetensors or several. Halves become f32.
 *
 * @param dir holds `config.json` and `model.safetensors`, or its parts and their index; and, for text, `tokenizer.json`.
 * @throws {FormatError} if a file is not what it should be, or the config asks for what is not built here.
 * @throws {DeviceError} before any tensor is read, if they cannot fit on the default device.
 */
export async function importHf(dir: string): Promise<ImportedHf> {
  const path = files.joinPath(dir, "config.json");
  const config = await readConfig(path);
  const name = familyOf(config, path);
  const sizes = sizesOf(config, path);
  const bindings = decoderBindings(name, sizes);
  checkRoom(bindings, dir);
  const model = decoderOf(name, sizes);
  return {
    model,
    params: await readParams(dir, bindings, model.init(random.key(0))),
    tokenizer: await loadTokenizer(dir),
    config,
  };
}

async function readConfig(path: string): Promise<HfConfig> {
  const text = new TextDecoder().decode(await files.readBytes(path));
  try {
    const config = JSON.parse(text) as HfConfig | null;
    if (typeof config?.model_type === "string") return config;
  } catch {
    // No JSON: as little a config as JSON of another kind.
  }
  throw new FormatError(`${path} is no config.json of a model: it has no model_type`);
}

/** A tree like `like`, its tensors read one after the other. */
async function readParams<P>(dir: string, bindings: readonly Binding[], like: P): Promise<P> {
  const opened = await openShards(dir);
  try {
    checkSources(bindings, opened);
    const bound = new Map(bindings.map((binding) => [binding.path, binding]));
    const leaves: Tensor[] = [];
    for (const path of treePaths(like)) {
      const { data, shape, dtype } = await gathered(bound.get(path)!, opened);
      leaves.push(tensor(data, { shape, dtype }));
    }
    return treeUnflatten(treeFlatten(like)[1], leaves);
  } finally {
    await opened.close();
  }
}

/** What a device can address at most; none is known of the others before it is tried. */
const rooms: { readonly [device: string]: number } = { wasm: 2 ** 32 };

function checkRoom(bindings: readonly Binding[], dir: string): void {
  const bytes = bindings.reduce((sum, binding) => sum + 4 * sizeOf(shapeOf(binding)), 0);
  const device = defaultDevice();
  const room = rooms[device] ?? Infinity;
  const gibibytes = (n: number): string => (n / 2 ** 30).toFixed(1);
  if (bytes > room)
    throw new DeviceError(
      `importHf: ${dir} has parameters of ${gibibytes(bytes)} GiB as f32, but ${device} addresses ${gibibytes(room)} GiB; take a smaller model or another device`,
    );
}
