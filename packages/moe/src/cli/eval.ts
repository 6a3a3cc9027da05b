import { resolve } from "node:path";
import type { Command } from "commander";
import { init } from "@switchyard/tensor";
import { newestRun, runsRoot } from "../training/runDirectory.ts";
import { judge, type Judgement } from "./judge.ts";
import { loadRun, readText, readyCorpus, textOfRun } from "./languageModel.ts";
import { describeJudgement, table } from "./report/text.ts";
import { command, type CommonOptions } from "./usage.ts";

interface EvalOptions extends CommonOptions {
  readonly run?: string;
  readonly data?: string;
}

export const evalCommand = (): Command =>
  command("eval", "judge trained models by text that they have not seen; several, side by side")
    .argument("[runs...]", `the runs to judge (default: the newest in ${runsRoot}/)`)
    .option("--run <dir>", "the run to judge, if it is one")
    .option("--data <file>", "judge by the end of this text (default: of the text each was trained on)")
    .action(judgeRuns);

async function judgeRuns(given: readonly string[], { json, device, run, data }: EvalOptions): Promise<void> {
  await init(device);
  const named = run === undefined ? given : [run, ...given];
  const dirs = named.length > 0 ? named : [await newestRun(runsRoot)];
  const judged: [dir: string, judgement: Judgement][] = [];
  for (const dir of dirs) {
    judged.push([dir, await judgeRun(dir, data)]);
    if (json) console.log(JSON.stringify({ run: dir, ...judged.at(-1)![1] }));
  }
  if (!json) console.log(judged.length === 1 ? describeJudgement(judged[0][1]) : compared(judged));
}

async function judgeRun(dir: string, data: string | undefined): Promise<Judgement> {
  const { config, model, params, tokenizer } = await loadRun(dir);
  const text = data === undefined ? await textOfRun(config, dir) : await readText(resolve(data));
  return judge(model, params, readyCorpus(text, model.context, tokenizer), config.batch);
}

/** A table of runs, the best first. */
const compared = (judged: readonly (readonly [dir: string, judgement: Judgement])[]): string =>
  table([
    ["run", "nats/character", "perplexity", "bits/byte", "accuracy"],
    ...judged
      .toSorted(([, a], [, b]) => a.heldOut - b.heldOut)
      .map(([dir, j]) => [
        dir,
        j.heldOut.toFixed(3),
        j.perplexity.toFixed(2),
        j.bitsPerByte.toFixed(3),
        `${(100 * j.accuracy).toFixed(1)} %`,
      ]),
  ]);
