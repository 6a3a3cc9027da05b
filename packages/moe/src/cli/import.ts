import type { Command } from "commander";
import { init } from "@switchyard/tensor";
import { treeLeaves } from "@switchyard/autograd";
import { importHf } from "../interop/hf/importHf.ts";
import { saveCheckpoint } from "../training/checkpoint.ts";
import { quantity } from "./report/text.ts";
import { command, type CommonOptions } from "./usage.ts";

interface ImportOptions extends CommonOptions {
  readonly to?: string;
}

export const importCommand = (): Command =>
  command("import", "read a Mixtral or OLMoE of transformers, and say what it is")
    .argument("<dir>", "what holds config.json and the safetensors")
    .option("--to <dir>", "also write it as a checkpoint, for loadCheckpoint")
    .action(importModel);

async function importModel(dir: string, { json, device, to }: ImportOptions): Promise<void> {
  await init(device);
  const { model, params, tokenizer, config } = await importHf(dir);
  const parameters = treeLeaves(params).reduce((sum, { size }) => sum + size, 0);
  const { model_type: kind } = config;
  const summary = {
    dir,
    kind,
    parameters,
    layers: params.layers.length,
    context: model.context,
    vocabulary: tokenizer.size,
  };
  if (to !== undefined) await saveCheckpoint(to, params);
  if (json) return console.log(JSON.stringify({ ...summary, ...(to !== undefined && { to }) }));
  const words = tokenizer.size === 0 ? "no tokenizer" : `a tokenizer of ${tokenizer.size} tokens`;
  console.log(
    `${dir}: ${kind}, ${quantity(parameters)} parameters, ${summary.layers} layers, context ${model.context}, ${words}`,
  );
  console.log(to === undefined ? `try: npx switchyard sample --run ${dir}` : `${to} holds it as a checkpoint`);
}
