/** `npm run bench [-- suite …]`: measures us and our peers side by side. Without names, every suite. */
import { describeMachine, machineLine } from "./runner/machine.ts";
import { printed } from "./runner/report.ts";
import { keep } from "./runner/results.ts";
import { suites } from "./suites/index.ts";

const asked = process.argv.slice(2);
const unknown = asked.filter((name) => !Object.hasOwn(suites, name));
if (unknown.length > 0) {
  console.error(`bench: no suite ${unknown.join(", ")}; suites are ${Object.keys(suites).join(" ")}`);
  process.exit(2);
}

let [missed, failed] = [0, 0];
for (const [name, suite] of Object.entries(suites)) {
  if (asked.length > 0 && !asked.includes(name)) continue;
  const machine = describeMachine();
  console.log(`\n== ${name}: ${suite.what}\n   ${machineLine(machine)}\n`);
  const began = performance.now();
  try {
    const report = await suite.run();
    const seconds = (performance.now() - began) / 1000;
    console.log(`${printed(report)}\n\n  ${seconds.toFixed(0)} s`);
    keep(name, machine, seconds, report);
    missed += report.bars.filter(({ met }) => met === false).length;
  } catch (error) {
    // One suite's failure must not cost the others' numbers.
    console.error(`bench: ${name} failed: ${(error as Error).message}`);
    failed++;
  }
}
console.log(
  missed === 0 && failed === 0
    ? "\nEvery bar that could be measured is met."
    : `\n${missed} bars missed, ${failed} suites failed.`,
);
if (failed > 0) process.exit(1);
