/** `npm run bench [-- suite …]`: measures us and our peers side by side. Without names, every suite. */
import { describeMachine, machineLine } from "./runner/machine.ts";
import { printed, type Bar } from "./runner/report.ts";
import { keep, keepBars } from "./runner/results.ts";
import { suites } from "./suites/index.ts";

const asked = process.argv.slice(2);
const unknown = asked.filter((name) => !Object.hasOwn(suites, name));
if (unknown.length > 0) {
  console.error(`bench: no suite ${unknown.join(", ")}; suites are ${Object.keys(suites).join(" ")}`);
  process.exit(2);
}

const start = performance.now();
const before = describeMachine();
const secondsSince = (moment: number): number => (performance.now() - moment) / 1000;
const bars: Bar[] = [];
const failures: string[] = [];
for (const [name, suite] of Object.entries(suites)) {
  if (asked.length > 0 && !asked.includes(name)) continue;
  const machine = describeMachine();
  console.log(`\n== ${name}: ${suite.what}\n   ${machineLine(machine)}\n`);
  const began = performance.now();
  try {
    const report = await suite.run();
    const seconds = secondsSince(began);
    console.log(`${printed(report)}\n\n  ${seconds.toFixed(0)} s`);
    keep(name, machine, seconds, report);
    bars.push(...report.bars.map((bar) => ({ ...bar, what: `${name}: ${bar.what}` })));
  } catch (error) {
    // One suite's failure must not cost the others' numbers.
    failures.push(`${name} failed: ${(error as Error).message}`);
    console.error(`bench: ${failures.at(-1)}`);
  }
}
const count = (met: boolean | undefined): number => bars.filter((bar) => bar.met === met).length;
console.log(`\n== all bars\n\n${printed({ tables: [], bars, notes: failures })}\n`);
const minutes = (secondsSince(start) / 60).toFixed(1);
const summary = `${count(true)} bars met, ${count(false)} missed, ${count(undefined)} could not be measured, ${failures.length} suites failed, in ${minutes} minutes.`;
console.log(summary);
if (asked.length === 0) keepBars(before, summary, bars);
if (failures.length > 0) process.exit(1);
