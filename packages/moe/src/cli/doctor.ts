import { resolve } from "node:path";
import type { Command } from "commander";
import { init } from "@switchyard/tensor";
import { doctor } from "../diagnostics/doctor/doctor.ts";
import type { Finding } from "../diagnostics/doctor/checks.ts";
import { coActivation, expertTokens } from "../diagnostics/expertTables.ts";
import { recordRouting } from "../diagnostics/recordRouting.ts";
import { writeAtomically } from "../interop/files.node.ts";
import type { TokenRouting } from "../routing/routing.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { newestRun, runsRoot } from "../training/runDirectory.ts";
import { fold } from "./fold.ts";
import { heldOutBatches } from "./judge.ts";
import { loadRun, readText, readyCorpus, textOfRun } from "./languageModel.ts";
import { command, integer, UsageError, type CommonOptions } from "./usage.ts";

interface DoctorOptions extends CommonOptions {
  readonly run?: string;
  readonly data?: string;
  readonly record?: string;
  readonly layer: number;
}

export const doctorCommand = (): Command =>
  command("doctor", "look at the routing of a trained model: what is wrong, what to do, which tokens each expert takes")
    .option("--run <dir>", `the run to look at (default: the newest in ${runsRoot}/)`)
    .option("--data <file>", "look at the end of this text (default: of the text it was trained on)")
    .option("--record <file>", "write a layer's routing as JSON, for switchyard plan --routing")
    .option("--layer <n>", "which layer to record", integer(0), 0)
    .action(examineRun);

async function examineRun({ json, device, run, data, record, layer }: DoctorOptions): Promise<void> {
  await init(device);
  const { dir, config, model, params, tokenizer } = await loadRun(run ?? (await newestRun(runsRoot)));
  const text = data === undefined ? await textOfRun(config, dir) : await readText(resolve(data));
  const { tokens } = heldOutBatches(readyCorpus(text, model.context, tokenizer), model.context, config.batch).at(0);
  const { routings } = model.apply(params, tokens);
  if (layer >= routings.length)
    throw new UsageError(`--layer ${layer}: the model has ${routings.length} layers with a mixture, counted from 0`);
  const [findings, ...layers] = await Promise.all([
    doctor({ routings }),
    ...routings.map(async (routing): Promise<LayerTables> => ({
      tokens: (await expertTokens(routing, tokens, tokenizer.size).toArray()) as number[][],
      together: (await coActivation(routing).toArray()) as number[][],
    })),
  ]);
  if (record !== undefined) await writeRecord(resolve(record), routings[layer]);
  if (json) console.log(JSON.stringify({ run: dir, tokens: tokens.size, findings, layers }));
  else
    console.log(
      [
        fold(describeFindings(findings, tokens.size), process.stdout.columns),
        ...describeLayers(layers, routings, tokenizer),
      ].join("\n"),
    );
}

async function writeRecord(path: string, routing: TokenRouting): Promise<void> {
  const text = `${JSON.stringify(await recordRouting(routing))}\n`;
  await writeAtomically(path, new TextEncoder().encode(text));
}

interface LayerTables {
  /** `[E][V]`: how often each token chose each expert. */
  readonly tokens: readonly (readonly number[])[];
  /** `[E][E]`: how often two experts were chosen together. */
  readonly together: readonly (readonly number[])[];
}

function describeFindings(findings: readonly Finding[], tokens: number): string {
  if (findings.length === 0) return `nothing wrong with the routing of ${tokens} held-out tokens`;
  return findings
    .map(({ ailment, layer, severity, says, remedy }) => {
      const where = layer === undefined ? "" : ` in layer ${layer}`;
      return `${severity}: ${ailment}${where}\n  ${says}\n  ${remedy}`;
    })
    .join("\n");
}

/** How many tokens of an expert are shown. */
const shown = 12;

const describeLayers = (
  layers: readonly LayerTables[],
  routings: readonly TokenRouting[],
  tokenizer: Tokenizer,
): string[] =>
  layers.map(({ tokens, together }, layer) =>
    [
      `layer ${layer}: what each expert takes more of than its share`,
      ...tokens.map((row, expert) => {
        const favourites = favouritesOf(tokens, expert).map((id) => tokenizer.decode([id]));
        return `  expert ${expert}  ${favourites.map(visible).join(" ") || "nothing"}`;
      }),
      ...(routings[layer].experts.shape[1] > 1 ? [`  most often together: ${closestPair(together)}`] : []),
    ].join("\n"),
  );

/** A token on one line, its spaces to be seen. */
const visible = (token: string): string => JSON.stringify(token).slice(1, -1).replaceAll(" ", "␣");

/** The ids that chose an expert most beyond what its share of all tokens lets expect. */
function favouritesOf(counts: readonly (readonly number[])[], expert: number): number[] {
  const total = (list: readonly number[]): number => list.reduce((sum, n) => sum + n, 0);
  const byToken = counts[0].map((_, id) => total(counts.map((row) => row[id])));
  const share = total(counts[expert]) / Math.max(1, total(byToken));
  const excess = counts[expert].map((n, id) => n - share * byToken[id]);
  return [...excess.keys()]
    .filter((id) => excess[id] > 0)
    .toSorted((a, b) => excess[b] - excess[a])
    .slice(0, shown);
}

function closestPair(together: readonly (readonly number[])[]): string {
  let best = { a: 0, b: 1, count: -1 };
  together.forEach((row, a) =>
    row.forEach((count, b) => {
      if (a < b && count > best.count) best = { a, b, count };
    }),
  );
  return `experts ${best.a} and ${best.b}, ${best.count} tokens`;
}
