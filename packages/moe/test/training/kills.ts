// Kills real runs of the command line with SIGKILL, at random moments, and lets them go on; then compares with a run that was left alone.
// `node --conditions=source packages/moe/test/training/kills.ts 50` kills fifty times and prints what came of it.
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { metricsLog, samplesLog } from "../../src/training/runLog.ts";

const main = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));
const text = "It was the best of times, it was the worst of times. ".repeat(12);
const steps = 48;
/** Everything that a run can carry: batches to add up, an average, the best so far, a clock for its patience. */
const config = {
  data: "text.txt",
  dim: 8,
  heads: 2,
  layers: 2,
  hidden: 8,
  context: 8,
  batch: 2,
  experts: 3,
  k: 2,
  steps,
  seed: 3,
  accumulate: 2,
  ema: 0.9,
  evalEvery: 8,
  patience: 100,
  keep: 2,
};

/** A process that trains. `begun` comes true at its first word, which is when a run starts to have something to lose. */
function start(dir: string, args: readonly string[]) {
  const child = spawn(process.execPath, ["--conditions=source", main, "train", "--json", ...args], { cwd: dir });
  let errors = "";
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => void (errors += chunk));
  const begun = new Promise<void>((resolve) => child.stdout.once("data", () => resolve()));
  child.stdout.resume();
  const ended = new Promise<number | null>((resolve) => child.on("exit", (code) => resolve(code)));
  return { child, begun, ended, errors: () => errors };
}

/** What a run leaves: all it noted but the time of day, what it wrote, and the last model and training state to the byte. */
async function remains(dir: string, run: string) {
  const at = join(dir, "runs", run);
  const records = (await metricsLog.read(at)).map((record) => ({ ...record, time: 0 }));
  const bytes = await Promise.all(
    ["model", "training"].map((part) => readFile(join(at, `step-${steps}`, `${part}.safetensors`))),
  );
  return JSON.stringify([records, await samplesLog.read(at)]) + bytes.map((b) => b.toString("base64")).join();
}

export interface KillOutcome {
  readonly kills: number;
  /** Of those, before the process had said anything. */
  readonly early: number;
  readonly runs: number;
  /** Runs that did not end exactly as the one that was left alone. */
  readonly different: number;
}

/** @param random draws from [0, 1). */
export async function killRuns(kills: number, random: () => number): Promise<KillOutcome> {
  const dir = await mkdtemp(join(tmpdir(), "switchyard-"));
  try {
    await writeFile(join(dir, "text.txt"), text);
    await writeFile(join(dir, "config.json"), JSON.stringify(config));
    const whole = start(dir, ["--config", "config.json"]);
    await whole.begun;
    const from = performance.now();
    if ((await whole.ended) !== 0) throw new Error(whole.errors());
    const length = performance.now() - from;
    const wanted = await remains(dir, "1");
    const outcome = { kills: 0, early: 0, runs: 0, different: 0 };
    while (outcome.kills < kills) {
      const run = `${outcome.runs + 2}`;
      await killOneRun(dir, run, kills, length, random, outcome);
      outcome.runs++;
      if ((await remains(dir, run)) !== wanted) outcome.different++;
    }
    return outcome;
  } finally {
    await rm(dir, { recursive: true });
  }
}

async function killOneRun(
  dir: string,
  run: string,
  kills: number,
  length: number,
  random: () => number,
  outcome: { kills: number; early: number },
): Promise<void> {
  let args = ["--config", "config.json"];
  for (;;) {
    const life = start(dir, args);
    // One in five while it starts or reads its checkpoint; the others while it trains and writes.
    const isEarly = args[0] === "--resume" && random() < 0.2;
    if (!isEarly) await Promise.race([life.begun, life.ended]);
    await Promise.race([sleep(random() * (isEarly ? 300 : length / 3)), life.ended]);
    if (outcome.kills < kills && life.child.exitCode === null) {
      life.child.kill("SIGKILL");
      outcome.kills++;
      if (isEarly) outcome.early++;
    }
    const code = await life.ended;
    if (code === 0) return;
    if (code !== null) throw new Error(`the run ended with ${code}: ${life.errors()}`);
    args = ["--resume", join("runs", run)];
  }
}

if (import.meta.main) {
  const { kills, early, runs, different } = await killRuns(Number(process.argv[2] ?? 50), Math.random);
  console.log(
    `${kills} kills (${early} of them while starting) in ${runs} runs: ${different} ended otherwise than undisturbed`,
  );
  process.exitCode = different === 0 ? 0 : 1;
}
