import { join, resolve } from "node:path";
import type { Command } from "commander";
import { init, random, type Key } from "@switchyard/tensor";
import { ledger, treePaths, type Ledger } from "@switchyard/autograd";
import { explainRouter, type RouterExplanation } from "../diagnostics/explainRouter.ts";
import { writeAtomically } from "../interop/files.node.ts";
import { randomBatches, type TextBatch } from "../text/batches.ts";
import { newestRun, runsRoot } from "../training/runDirectory.ts";
import { explanationPage } from "./explain/page.ts";
import { loadRun, readyCorpus, textOfRun, type LoadedRun } from "./languageModel.ts";
import { command, integer, type CommonOptions } from "./usage.ts";

interface ExplainOptions extends CommonOptions {
  readonly run?: string;
  readonly param?: string;
  readonly batch: number;
  readonly html?: string;
}

export const explainCommand = (): Command =>
  command("explain", "tell what moves a parameter: the task or the balance, by which path, for which expert and token")
    .option("--run <dir>", `a run, or a checkpoint in one (default: the newest run in ${runsRoot}/)`)
    .option("--param <path>", "the parameter (default: the gate of the last layer's router)")
    .option("--batch <n>", "sequences to take the gradient on, drawn by the seed", integer(1), 4)
    .option("--html <file>", "where to write the page (default: explain.html in the run)")
    .action(explain);

/** What a command has found out. */
export interface Explained {
  readonly run: string;
  readonly device: string;
  readonly param: string;
  readonly ledger: Ledger;
  readonly routers: readonly RouterExplanation[];
  /** The characters of the batch, sequence by sequence. */
  readonly text: readonly string[];
}

async function explain(options: ExplainOptions): Promise<void> {
  const device = await init(options.device);
  const loaded = await loadRun(options.run ?? (await newestRun(runsRoot)));
  const param = options.param ?? lastGate(loaded);
  const { book, batch } = await takeApart(loaded, param, options.batch, random.key(options.seed));
  const text = await charactersOf(loaded, batch);
  const found = { run: loaded.dir, device, param, ledger: book, routers: explainRouter(book), text };
  const file = resolve(options.html ?? join(loaded.dir, "explain.html"));
  await writeAtomically(file, new TextEncoder().encode(await explanationPage(found)));
  if (options.json) console.log(JSON.stringify({ run: loaded.dir, param, page: file, ledger: book.toJSON() }));
  else console.log(`${describe(found)}\n\nthe whole of it, drawn: ${file}`);
}

/** The gate of the last layer that has a router. */
const lastGate = ({ params }: LoadedRun): string =>
  treePaths(params)
    .filter((path) => path.endsWith(".router.gate"))
    .at(-1)!;

/** The ledger of a batch of training: of the parameter, and of all routers beside it. */
async function takeApart(
  run: LoadedRun,
  param: string,
  sequences: number,
  key: Key,
): Promise<{ book: Ledger; batch: TextBatch }> {
  const { model, params, config, dir, tokenizer } = run;
  const corpus = readyCorpus(await textOfRun(config, dir), model.context, tokenizer);
  const [batchKey, noise] = random.split(key);
  const seed = await batchKey.slice(0).item();
  const batch = randomBatches(corpus.train, { batch: sequences, context: model.context }, seed)(0);
  const gates = treePaths(params).filter((path) => path.endsWith(".router.gate"));
  const book = await ledger((p: typeof params) => model.loss(p, batch, { train: true, key: noise }))(params, {
    parameters: [...new Set([param, ...gates])],
    marks: ["combine"],
    explain: true,
  });
  return { book, batch };
}

async function charactersOf({ tokenizer }: LoadedRun, { tokens }: TextBatch): Promise<string[]> {
  const rows = (await tokens.toArray()) as number[][];
  return rows.map((ids) => ids.map((id) => tokenizer.decode([id])).join(""));
}

/** The explanation on a terminal: the parameter's ledger, and its router's if it has one. */
function describe({ ledger: book, param, routers }: Explained): string {
  const entry = book.of(param);
  const router = routers.find(({ router: scope }) => param.startsWith(`${scope.replaceAll("/", ".")}.`));
  return [String(entry), ...(router ? ["", String(router)] : [])].join("\n");
}
