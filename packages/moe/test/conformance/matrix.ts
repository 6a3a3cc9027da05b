/**
 * `npm run test:matrix [-- 22 24 …]`: the conformance suite, random graphs and a training step on `wasm` with 1, 2 and 4 threads, with and
 * without relaxed SIMD and revectorization, on each Node that is supported; a line for each combination. On Node 20, which
 * runs neither TypeScript nor vitest, the program runs on the build.
 *
 * Node's binaries are about 100 MB each, too much for every `npm ci`: they come from npm once, into `node_modules/.cache`.
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { stripVTControlCharacters } from "node:util";
import type { InitOptions } from "@switchyard/tensor";
import { cache, ended, reports, reportsOfBuild, root } from "./children.ts";
import type { Report } from "./program.ts";

/** Exact, so that a run can be repeated. The Node of this process stands for its own major version. */
const versions = { 20: "20.20.2", 22: "22.23.3", 24: "24.21.0", 26: "26.10.0" } as const;
const majors = Object.keys(versions) as `${keyof typeof versions}`[];

async function nodeOf(major: (typeof majors)[number]): Promise<string> {
  if (process.versions.node.startsWith(`${major}.`)) return process.execPath;
  const version = versions[major];
  const folder = join(cache, `node-${version}`);
  const name = `node-${process.platform === "win32" ? "win" : process.platform}-${process.arch}`;
  const binary = join(folder, "node_modules", name, "bin/node");
  if (existsSync(binary)) return binary;
  console.log(`fetching ${name}@${version} into ${folder}, once`);
  mkdirSync(folder, { recursive: true });
  const { code, errors } = await ended("npm", ["install", "--no-save", "--prefix", folder, `${name}@${version}`]);
  if (code !== 0) throw new Error(`npm has no ${name}@${version}: ${errors.trim().split("\n")[0]}`);
  return binary;
}

interface Mode {
  readonly relaxedSimd: boolean;
  readonly revectorize: boolean;
}

const modes: readonly Mode[] = [
  { relaxedSimd: true, revectorize: false },
  { relaxedSimd: false, revectorize: false },
  { relaxedSimd: true, revectorize: true },
  { relaxedSimd: false, revectorize: true },
];
const threadCounts = [1, 2, 4];

/** Only the optimizing compiler makes 256-bit operations. From the command line: V8 may not change its tiers in mid-flight (Node 26 crashed). */
const flagsOf = ({ revectorize }: Mode): string[] => (revectorize ? ["--no-liftoff"] : []);

let failures = 0;

function line(node: string, threads: number, mode: Mode, verdict: string): void {
  if (verdict.includes("FAILED")) failures++;
  const yes = (flag: boolean): string => (flag ? "yes" : "no ");
  console.log(
    `node ${node.padEnd(9)}  threads ${threads}  relaxed ${yes(mode.relaxedSimd)}  256-bit ${yes(mode.revectorize)}  ${verdict}`,
  );
}

/** Of vitest's report, what is read here. */
interface SuiteReport {
  readonly numPassedTests: number;
  readonly testResults: readonly {
    readonly assertionResults: readonly {
      readonly status: string;
      readonly title: string;
      readonly failureMessages: readonly string[];
    }[];
  }[];
}

/** The suite in vitest. @returns how many tests passed, or what failed. */
async function suite(node: string, mode: Mode, options: InitOptions): Promise<string> {
  const file = join(cache, "suite.json");
  rmSync(file, { force: true });
  const run = [
    "run",
    "--reporter=default",
    "--reporter=json",
    `--outputFile.json=${file}`,
    "packages/tensor/test/conformance",
  ];
  const flags = ["--conditions=source", ...flagsOf(mode)].map((flag) => `--execArgv=${flag}`);
  const { code, output, errors } = await ended(node, [join(root, "node_modules/vitest/vitest.mjs"), ...run, ...flags], {
    SWITCHYARD_WASM: JSON.stringify(options),
  });
  if (!existsSync(file)) return `FAILED suite: ${errors.trim().split("\n").at(-1)}`;
  const { numPassedTests: passed, testResults } = JSON.parse(readFileSync(file, "utf8")) as SuiteReport;
  const failed = testResults.flatMap(({ assertionResults }) => assertionResults.filter((t) => t.status === "failed"));
  if (code === 0) return `suite ${passed} passed`;
  // What fails before the first test, the start of a device say, is in vitest's words only.
  if (failed.length === 0)
    return `FAILED suite: ${/^\s*(?:\S+)?Error: .*/m.exec(stripVTControlCharacters(output + errors))?.[0].trim() ?? `exit code ${code}`}`;
  const why = failed.map(({ title, failureMessages }) => `\n  ${title}: ${failureMessages.join("\n").slice(0, 2000)}`);
  return `FAILED suite: ${passed} passed, ${failed.length} failed, exit code ${code}${why.join("")}\n `;
}

/** All results' bits in eight digits. */
const bitsOf = ({ hashes }: Report): string =>
  createHash("sha256").update(Object.values(hashes).join()).digest("hex").slice(0, 8);

/** What a report says of one thread count, given another of the same mode. */
function results(report: Report, first: Report): string {
  const off = Object.entries(report.off ?? {}).map(
    ([name, { ulps, bound }]) => `${name} by ${ulps.toFixed(0)} ulps, not ${bound}`,
  );
  if (off.length > 0) return `FAILED results: off the reference: ${off.join("; ")}`;
  const differ = Object.keys(report.hashes).filter((name) => report.hashes[name] !== first.hashes[name]);
  if (differ.length > 0) return `FAILED results: other bits than with one thread: ${differ.join(", ")}`;
  return `results agree, bits ${bitsOf(report)}`;
}

/** Why there are no reports. A Node without revectorization is no failure. */
function reason(error: unknown): string {
  const { message } = error as Error;
  const lacking = /DeviceError: (.*without revectorization)/.exec(message);
  return lacking ? `skipped: ${lacking[1]}` : `FAILED ${message.replaceAll(/\s+/g, " ").slice(0, 300)}`;
}

async function checkMode(name: string, node: string, mode: Mode): Promise<void> {
  const options = threadCounts.map((threads): InitOptions => ({ threads, ...mode }));
  const outcome = await reports(node, flagsOf(mode), { options, reference: true }).catch(reason);
  for (const [i, threads] of threadCounts.entries()) {
    if (typeof outcome === "string") line(name, threads, mode, outcome);
    else line(name, threads, mode, `${await suite(node, mode, options[i])}, ${results(outcome[i], outcome[0])}`);
  }
}

/** What Node 20 has: no relaxed SIMD but behind a flag, and no revectorization. */
async function checkBuild(name: string, node: string): Promise<void> {
  const mode: Mode = { relaxedSimd: false, revectorize: false };
  const options = threadCounts.map((threads): InitOptions => ({ threads, relaxedSimd: false }));
  const outcome = await reportsOfBuild(node, { options, reference: true }).catch(reason);
  for (const [i, threads] of threadCounts.entries()) {
    const verdict = typeof outcome === "string" ? outcome : results(outcome[i], outcome[0]);
    line(name, threads, mode, `${verdict}, from the build; suite skipped: vitest needs Node 22`);
  }
  console.log(`node ${name.padEnd(9)}  skipped: relaxed SIMD and revectorization, which its V8 does not have`);
}

const asked = process.argv.slice(2);
for (const major of majors.filter((m) => asked.length === 0 || asked.includes(m))) {
  const node = await nodeOf(major).catch((error: Error) => error);
  if (node instanceof Error) {
    console.log(`node ${major}  skipped: ${node.message}`);
    continue;
  }
  const name = (await ended(node, ["--version"])).output.trim().slice(1);
  if (major === "20") await checkBuild(name, node);
  else for (const mode of modes) await checkMode(name, node, mode);
}
console.log(failures === 0 ? "every combination passed" : `${failures} combinations failed`);
process.exitCode = failures === 0 ? 0 : 1;
