import { Option, type Command } from "commander";
import { ConfigError, init } from "@switchyard/tensor";
import type { FloatFormat } from "../interop/elementTypes.ts";
import { characterFiles } from "../interop/hf/characterFiles.ts";
import { decoderConfig, type HfParams } from "../interop/hf/decoder.ts";
import { exportHf } from "../interop/hf/exportHf.ts";
import { newestRun, runsRoot, type RunConfig } from "../training/runDirectory.ts";
import { loadRun, type CharacterModelParams } from "./languageModel.ts";
import { command, type CommonOptions } from "./usage.ts";

interface ExportOptions extends CommonOptions {
  readonly run?: string;
  readonly floats: FloatFormat;
}

export const exportCommand = (): Command =>
  command("export", "write a trained model as transformers and vLLM read it: a Mixtral, with its tokenizer")
    .argument("<dir>", "where to")
    .option("--run <dir>", `the run to export (default: the newest in ${runsRoot}/)`)
    .addOption(new Option("--floats <type>", "how floats are written").choices(["F32", "F16", "BF16"]).default("F32"))
    .action(exportRun);

async function exportRun(dir: string, { json, device, run, floats }: ExportOptions): Promise<void> {
  await init(device);
  const { config, params, tokenizer, ...loaded } = await loadRun(run ?? (await newestRun(runsRoot)));
  if (config.model.activation !== "swiglu")
    throw new ConfigError(
      `${loaded.dir} has experts of ${config.model.activation} with biases, and Mixtral's are swiglu without; train with --activation swiglu`,
    );
  const exported = { params: withoutNoise(params), config: mixtralOf(config, tokenizer.size) };
  await exportHf(dir, { ...exported, tokenizer: { files: characterFiles(tokenizer) } }, { floats });
  const summary = { dir, run: loaded.dir, architecture: "MixtralForCausalLM", floats };
  console.log(json ? JSON.stringify(summary) : `${dir} holds ${loaded.dir} as ${summary.architecture}, in ${floats}`);
}

/** The router's noise is for training alone: in use, a noisy router weighs as Mixtral's does. */
const withoutNoise = (params: CharacterModelParams): HfParams => ({
  ...params,
  layers: params.layers.map((layer) => ({
    ...layer,
    ...(layer.moe && { moe: { ...layer.moe, router: { gate: layer.moe.router.gate } } }),
  })),
});

const mixtralOf = ({ model }: RunConfig, vocab: number) => {
  const { dim, layers, heads, hidden, context, experts, k } = model;
  const rest = { renormalize: true, rope: 1e4, normEps: 1e-5, tie: false };
  return decoderConfig("mixtral", { vocab, dim, layers, heads, kvHeads: heads, hidden, context, experts, k, ...rest });
};
