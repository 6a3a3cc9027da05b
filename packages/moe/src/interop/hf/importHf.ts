import { ConfigError, DeviceError, defaultDevice, random, tensor, type Key, type Tensor } from "@switchyard/tensor";
import { treeFlatten, treePaths, treeUnflatten } from "@switchyard/autograd";
import { sizeOf } from "@switchyard/tensor/graph";
import {
  switchTransformer,
  type SwitchTransformer,
  type SwitchTransformerParams,
} from "../../models/switchTransformer.ts";
import { openShards } from "../shards.ts";
import { checkSources, gathered, shapeOf, type Binding } from "./bindings.ts";
import { readConfig, type HfConfig } from "./config.ts";
import { decoderBindings, decoderOf, familyOf, sizesOf, type HfModel, type HfParams } from "./decoder.ts";
import { switchBindings, switchSizes, switchType } from "./switch.ts";
import { loadTokenizer, type HfTokenizer } from "./tokenizer.ts";

export interface ImportedHf<M = HfModel, P = HfParams> {
  readonly model: M;
  readonly params: P;
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
  const { config, path } = await readConfig(dir);
  const name = familyOf(config, path);
  const sizes = sizesOf(config, path);
  return imported(dir, config, decoderOf(name, sizes), decoderBindings(name, sizes));
}

/** The same for a Switch Transformer, whose model is an encoder and a decoder. */
export async function importSwitch(dir: string): Promise<ImportedHf<SwitchTransformer, SwitchTransformerParams>> {
  const { config, path } = await readConfig(dir);
  if (config.model_type !== switchType)
    throw new ConfigError(
      `${path}: the model_type is "${config.model_type}"; importHf reads others than ${switchType}`,
    );
  const sizes = switchSizes(config, path);
  return imported(dir, config, switchTransformer(sizes), switchBindings(sizes));
}

async function imported<P, M extends { init(key: Key): P }>(
  dir: string,
  config: HfConfig,
  model: M,
  bindings: readonly Binding[],
): Promise<ImportedHf<M, P>> {
  checkRoom(bindings, dir);
  const params = await readParams(dir, bindings, model.init(random.key(0)));
  return { model, params, tokenizer: await loadTokenizer(dir), config };
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
