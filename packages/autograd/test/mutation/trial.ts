// Tries mutants from a number on, in one process: says before each which it is, and after it whether a test noticed.
import { readdirSync } from "node:fs";
import { registerHooks } from "node:module";
import type { Collected } from "./collector.ts";
import { withSwitches } from "./mutants.ts";
import { ruleFiles } from "./rules.ts";

/** What is said to the parent. */
export type Report = { readonly trying: number } | { readonly tried: number; readonly noticedBy?: string };

const say = (report: Report): void => void process.send!(report);

const files = ruleFiles();
const alive = "globalThis.switchyardMutant";
const collector = new URL("collector.ts", import.meta.url).href;
registerHooks({
  resolve: (specifier, context, next) =>
    specifier === "vitest" || specifier === "@fast-check/vitest"
      ? { url: collector, shortCircuit: true }
      : next(specifier, context),
  load(url, context, next) {
    const file = files.find((f) => f.url === url);
    if (!file) return next(url, context);
    const source = withSwitches(file.source, file.mutants, alive, file.first);
    return { format: "module-typescript", source, shortCircuit: true };
  },
});

const { collected } = (await import(collector)) as { collected: Collected[] };
const tests = new URL("../rules/", import.meta.url);
for (const name of readdirSync(tests)) if (name.endsWith(".test.ts")) await import(new URL(name, tests).href);

/** A test that fails, if one does. It goes first from then on: the next mutant is of the same rule, most likely. */
async function failing(): Promise<string | undefined> {
  for (const [i, test] of collected.entries())
    try {
      await test.run();
    } catch {
      collected.unshift(...collected.splice(i, 1));
      return test.name;
    }
  return undefined;
}

const scope = globalThis as { switchyardMutant?: number };
const unmutated = await failing();
if (unmutated !== undefined) throw new Error(`"${unmutated}" fails without a mutant`);
const last = files.at(-1)!;
for (let number = Number(process.argv[2]); number < last.first + last.mutants.length; number++) {
  say({ trying: number });
  scope.switchyardMutant = number;
  say({ tried: number, noticedBy: await failing() });
}
