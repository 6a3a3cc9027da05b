import { resolve } from "node:path";
import type { Command } from "commander";
import { init } from "@switchyard/tensor";
import { newestRun, runsRoot } from "../training/runDirectory.ts";
import { judge } from "./judge.ts";
import { loadRun, readText, readyCorpus, textOfRun } from "./languageModel.ts";
import { describeJudgement } from "./report/text.ts";
import { command, type CommonOptions } from "./usage.ts";

interface EvalOptions extends CommonOptions {
  readonly run?: string;
  readonly data?: string;
}

export const evalCommand = (): Command =>
  command("eval", "judge a trained model by text that it has not seen")
    .option("--run <dir>", `the run to judge (default: the newest in ${runsRoot}/)`)
    .option("--data <file>", "judge by the end of this text (default: of the text it was trained on)")
    .action(judgeRun);

async function judgeRun({ json, device, run, data }: EvalOptions): Promise<void> {
  await init(device);
  const { dir, config, model, params, tokenizer } = await loadRun(run ?? (await newestRun(runsRoot)));
  const text = data === undefined ? await textOfRun(config, dir) : await readText(resolve(data));
  const judgement = await judge(model, params, readyCorpus(text, model.context, tokenizer), config.batch);
  console.log(json ? JSON.stringify({ run: dir, ...judgement }) : describeJudgement(judgement));
}
