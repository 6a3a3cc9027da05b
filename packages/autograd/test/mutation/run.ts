// Mutation testing of the gradient rules: changes them in one place at a time, and tells which changes their tests do not notice.
// `npm run example packages/autograd/test/mutation/run.ts` takes some minutes.
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { equivalents } from "./equivalents.ts";
import { ruleFiles, type RuleFile } from "./rules.ts";
import type { Report } from "./trial.ts";

const trial = fileURLToPath(new URL("trial.ts", import.meta.url));
/** A mutant that does not end in this time is noticed, too. In milliseconds. */
const longest = 120_000;

const files = ruleFiles();
const total = files.reduce((n, file) => n + file.mutants.length, 0);

/** Tries the mutants from a number on until one does not end; gives the number to go on with. */
function tryFrom(first: number, survivors: number[]): Promise<number> {
  const child = fork(trial, [`${first}`]);
  let current = first;
  return new Promise((resolve, reject) => {
    const give = (): void => void child.kill("SIGKILL");
    let timer = setTimeout(give, longest);
    child.on("message", (report: Report) => {
      clearTimeout(timer);
      timer = setTimeout(give, longest);
      if ("trying" in report) current = report.trying;
      else if (report.noticedBy === undefined) survivors.push(report.tried);
      if (process.stderr.isTTY && "trying" in report) process.stderr.write(`\r${current} of ${total}`);
    });
    child.on("exit", (code, signal) => {
      clearTimeout(timer);
      if (code === 0) resolve(Infinity);
      else if (signal === "SIGKILL") resolve(current + 1);
      else reject(new Error(`the trial of mutant ${current} ended with ${code}`));
    });
  });
}

const lineOf = ({ source }: RuleFile, line: number): string => source.split("\n")[line - 1].trim();

const survivors: number[] = [];
for (let next = 0; next < Infinity;) next = await tryFrom(next, survivors);
let unexplained = 0;
for (const file of files) {
  const here = survivors.map((n) => file.mutants[n - file.first]).filter((m) => m !== undefined);
  const open = here.filter((m) => {
    const [line, change] = [lineOf(file, m.line), `${file.source.slice(m.start, m.end)} -> ${m.replacement}`];
    const why = equivalents.find((e) => e.file === file.name && e.line === line && e.change === change)?.why;
    console.log(`${why ? "means the same" : "SURVIVED"}: ${file.name}:${m.line} ${change}${why ? ` (${why})` : ""}`);
    return why === undefined;
  });
  unexplained += open.length;
  const same = here.length - open.length;
  console.log(`${file.name}: ${file.mutants.length - here.length} of ${file.mutants.length - same} noticed`);
}
const same = survivors.length - unexplained;
console.log(`${total - survivors.length} of ${total - same} mutants noticed; ${same} more mean the same`);
if (unexplained > 0) process.exitCode = 1;
