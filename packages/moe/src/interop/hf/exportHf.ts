import { ConfigError, type Tensor, type TypedArray } from "@switchyard/tensor";
import { treeLeaves, treePaths } from "@switchyard/autograd";
import { describe, oneOf, positiveInteger, checkOptions, sameShape } from "@switchyard/tensor/graph";
import type { SwitchTransformerParams } from "../../models/switchTransformer.ts";
import type { FloatFormat } from "../elementTypes.ts";
import type { TensorSource } from "../safetensors.ts";
import { shardFiles } from "../shards.ts";
import { scattered, shapeOf, sourcesOf, type Binding } from "./bindings.ts";
import { configText, readConfig, type HfConfig } from "./config.ts";
import { decoderBindings, familyOf, sizesOf, type HfParams } from "./decoder.ts";
import { switchBindings, switchSizes, switchType } from "./switch.ts";
import type { HfTokenizer } from "./tokenizer.ts";
import * as files from "#files";

export interface ExportableHf {
  readonly params: HfParams | SwitchTransformerParams;
  /** That of `importHf` or `importSwitch`, or of `hfConfig`. */
  readonly config: HfConfig;
  readonly tokenizer?: Pick<HfTokenizer, "files">;
}

export interface ExportHfOptions {
  /** How floats are written; `F32` by default. */
  readonly floats?: FloatFormat;
  /** The most bytes of a file, 5 GB by default; a tensor above that has one to itself. */
  readonly shardBytes?: number;
}

/**
 * Writes a model as Hugging Face's transformers, and what reads its files, opens it: `config.json`, safetensors, and the tokenizer. The
 * directory is there whole or not at all; one that is there already is replaced if it holds a model and nothing else. Beside the device's,
 * memory holds one parameter at a time.
 *
 * @throws {ConfigError} if the parameters are not those of a model of the config, or something that is no model is in the way.
 */
export async function exportHf(dir: string, exported: ExportableHf, options: ExportHfOptions = {}): Promise<void> {
  checkOptions("exportHf", options, { floats: oneOf("F32", "F16", "BF16"), shardBytes: positiveInteger });
  const { floats = "F32", shardBytes = 5e9 } = options;
  const { params, config, tokenizer } = exported;
  await checkTarget(dir);
  const bindings = bindingsOf(config);
  const tensors = fromDevice(boundTensors(params, bindings), bindings);
  const dtype = { F32: "float32", F16: "float16", BF16: "bfloat16" }[floats];
  const texts = [
    ["config.json", configText({ ...config, dtype, torch_dtype: dtype })],
    ...Object.entries(tokenizer?.files ?? {}).map(([name, value]) => [name, `${JSON.stringify(value, null, 2)}\n`]),
  ];
  const encoded = texts.map(([name, text]) => [name, new TextEncoder().encode(text)] as const);
  await files.writeDirectoryAtomically(
    dir,
    new Map<string, Uint8Array | AsyncIterable<Uint8Array>>([
      ...encoded,
      ...shardFiles(tensors, { floats, limit: shardBytes }),
    ]),
  );
}

/** The tensors of the files, by name. Those of one parameter follow each other, and no more than one parameter is on the host at a time. */
function fromDevice(
  named: ReadonlyMap<string, Tensor>,
  bindings: readonly Binding[],
): ReadonlyMap<string, TensorSource> {
  let last: { readonly binding: Binding; readonly data: Promise<TypedArray> } | undefined;
  const dataOf = (binding: Binding): Promise<TypedArray> => {
    if (last?.binding !== binding) last = { binding, data: named.get(binding.path)!.data() };
    return last.data;
  };
  return new Map(
    bindings.flatMap((binding) =>
      sourcesOf(binding).map(([name, shape], i) => {
        const read = async (): Promise<TypedArray> => scattered(binding, await dataOf(binding), i);
        return [name, { dtype: "f32", shape, read }] as const;
      }),
    ),
  );
}

const bindingsOf = (config: HfConfig): Binding[] =>
  config.model_type === switchType
    ? switchBindings(switchSizes(config, "exportHf"))
    : decoderBindings(familyOf(config, "exportHf"), sizesOf(config, "exportHf"));

/** Files that a model's directory may hold. A directory is replaced whole, so one with anything else is not ours to replace. */
const ofModel = /\.(json|safetensors)$/;

async function checkTarget(dir: string): Promise<void> {
  const names = await files.listDirectory(dir);
  if (names.length === 0) return;
  const other = names.find((name) => !ofModel.test(name));
  const isModel = await readConfig(dir).then(
    () => true,
    () => false,
  );
  if (isModel && other === undefined) return;
  throw new ConfigError(
    `exportHf: ${dir} holds ${isModel ? other : "something that is no model"}, which would be lost; give another directory`,
  );
}

/** The parameters by path, all of them and no others than the bindings ask for. */
function boundTensors(params: ExportableHf["params"], bindings: readonly Binding[]): ReadonlyMap<string, Tensor> {
  const leaves = treeLeaves(params);
  const named = new Map(treePaths(params).map((path, i) => [path, leaves[i]]));
  for (const binding of bindings) {
    const found = named.get(binding.path);
    const wanted = `f32[${shapeOf(binding)}]`;
    if (!found || !sameShape(found.shape, shapeOf(binding)) || found.dtype !== "f32")
      throw new ConfigError(
        `exportHf: ${binding.path} must be ${wanted} for this config, but ${found ? `is ${describe(found)}` : "is not there"}`,
      );
  }
  const bound = new Set(bindings.map(({ path }) => path));
  const rest = [...named.keys()].find((path) => !bound.has(path));
  if (rest !== undefined)
    throw new ConfigError(
      `exportHf: the layout has no place for ${rest}; export a model with swiglu experts without biases, and a router of one gate`,
    );
  return named;
}
