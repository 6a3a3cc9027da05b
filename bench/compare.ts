/** `npm run bench:compare -- BASE`: the working tree against another revision, interleaved, on one task of each kind. */
import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { startContestant, type Contestant } from "./runner/contestant.ts";
import type { ContestantKind } from "./runner/contestants.ts";
import { describeMachine, machineLine } from "./runner/machine.ts";
import { drop, measure, type Trial } from "./runner/measure.ts";
import { printed } from "./runner/report.ts";
import { layerSizes } from "./suites/moe.ts";
import { commonModel } from "./suites/step.ts";
import type { TaskName } from "./tasks.ts";

const base = process.argv[2];
if (base === undefined) {
  console.error("bench:compare: name a revision to compare with, for example main");
  process.exit(2);
}

const matrix = { rows: 4096, cols: 1024 };
const trials: readonly (Trial<TaskName> & { readonly what: string })[] = [
  { what: "matmul 512", task: "matmul", sizes: { n: 512 }, tolerance: 1e-5 },
  { what: "softmax, 4 M", task: "softmax", sizes: matrix, tolerance: 1e-4 },
  { what: "layer norm, 4 M", task: "layerNorm", sizes: matrix, tolerance: 1e-4 },
  { what: "gelu, 4 M", task: "gelu", sizes: { size: 4 * 2 ** 20 }, tolerance: 1e-4 },
  { what: "mixture layer, E = 8", task: "moe", sizes: layerSizes(8), tolerance: 1e-4 },
  { what: "mixture layer, E = 64", task: "moe", sizes: layerSizes(64), tolerance: 1e-4 },
  { what: "training step, E = 8", task: "step", sizes: commonModel(8), tolerance: 2e-3 },
];

const root = fileURLToPath(new URL("..", import.meta.url));
const checkout = mkdtempSync(join(tmpdir(), "switchyard-base-"));
const run = (command: string, args: readonly string[], cwd: string): void =>
  void execFileSync(command, args, { cwd, stdio: ["ignore", "ignore", "inherit"] });

try {
  run("git", ["worktree", "add", "--detach", "--force", checkout, base], root);
  run("npm", ["ci", "--ignore-scripts"], checkout);
  // Both revisions are measured by the harness of this one.
  for (const part of ["runner", "peers", "tasks.ts"])
    cpSync(join(root, "bench", part), join(checkout, "bench", part), { recursive: true });
  console.log(`${base} against the working tree\n${machineLine(describeMachine())}\n`);
  await compare();
} finally {
  run("git", ["worktree", "remove", "--force", checkout], root);
  rmSync(checkout, { recursive: true, force: true });
}

async function compare(): Promise<void> {
  const modes = [{}, { revectorize: true }];
  const contestants: Contestant[] = [];
  try {
    for (const options of modes)
      for (const [name, tree] of [
        [base, checkout],
        ["working tree", root],
      ] as const)
        contestants.push(
          await startContestant(`${name}${options.revectorize ? " revectorized" : ""}`, kindIn(tree, options)),
        );
    const rows = [];
    for (const trial of trials) {
      const found = await measure(contestants, { rounds: 7, ...trial });
      for (const i of [0, 2])
        rows.push([
          trial.what,
          i === 0 ? "plain" : "revectorized",
          found[i].absent ?? found[i].ms,
          found[i + 1].absent ?? found[i + 1].ms,
          found[i].ms / found[i + 1].ms,
        ]);
      await drop(contestants);
    }
    const table = { title: "Medians", columns: ["what", "mode", `${base}, ms`, "now, ms", "faster by"], rows };
    console.log(printed({ tables: [table], bars: [], notes: [] }));
  } finally {
    for (const contestant of contestants) contestant.end();
  }
}

function kindIn(tree: string, options: { readonly revectorize?: boolean }): ContestantKind {
  const [host, peer] = ["runner/host.ts", "peers/switchyard/peer.ts"].map((path) => join(tree, "bench", path));
  return { command: process.execPath, args: ["--conditions=source", "--no-warnings", host, peer], options };
}
