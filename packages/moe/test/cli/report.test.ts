import { stripVTControlCharacters } from "node:util";
import { describe, expect, test } from "vitest";
import type { Progress } from "../../src/cli/report/events.ts";
import { terminalReporter } from "../../src/cli/report/terminal.ts";
import { describeEvent, duration, plainReporter, quantity } from "../../src/cli/report/text.ts";

const progress = (step: number, cvSquared: number[]): Progress => ({
  event: "progress",
  step,
  steps: 100,
  loss: 2.5,
  tokensPerSecond: 12_345,
  secondsLeft: 65,
  shares: cvSquared.map(() => [0.5, 0.25, 0.25, 0]),
  cvSquared,
  cvSquaredByChance: 0.001,
});

/** What a terminal of this width would show after the writes. */
function shown(writes: string[]): string[] {
  const lines: string[] = [];
  let row = 0;
  for (const write of writes) {
    const [, up = "0"] = /\[(\d+)A/.exec(write) ?? []; // how far the cursor goes up
    row -= Number(up);
    lines.length = row;
    const text = stripVTControlCharacters(write).replaceAll("\r", "").split("\n");
    for (const [i, line] of text.entries()) lines[row + i] = line;
    row += text.length - 1;
  }
  return lines;
}

describe("the picture on a terminal", () => {
  test("is drawn anew in its place: bar, loss, speed, time left, shares and the course of CV²", () => {
    const writes: string[] = [];
    const reporter = terminalReporter({ write: (text) => writes.push(text), columns: 100 });
    reporter.show(progress(25, [0.8, 0.2]));
    reporter.show(progress(50, [0.1, 0.2]));
    const [bar, title, first, second, ...rest] = shown(writes);
    expect(bar).toBe(`${"█".repeat(16)}${"░".repeat(16)} step 50/100  loss 2.500  12.3k tokens/s  1m 05s left`);
    expect(title).toBe("% of tokens by expert (▄ even)  log CV²: ▁ chance 0.0010 █ 0.8000");
    expect(first).toBe(`layer 0  █▄▄   50 25 25  0 %    0.1000 ${"·".repeat(7)}█${"▆".repeat(8)}${"·".repeat(16)}`);
    expect(second).toBe(`layer 1  █▄▄   50 25 25  0 %    0.2000 ${"·".repeat(7)}${"▆".repeat(9)}${"·".repeat(16)}`);
    expect(rest.join("")).toBe("");
  });

  test("leaves percents out where bars alone fit", () => {
    const writes: string[] = [];
    const reporter = terminalReporter({ write: (text) => writes.push(text), columns: 80 });
    reporter.show({ ...progress(100, [0.001]), shares: [new Array<number>(32).fill(1 / 32)] });
    expect(shown(writes)[2]).toBe(`layer 0  ${"▄".repeat(32)}  0.0010 ${"·".repeat(28)}▁`);
  });

  test("fits the terminal, and gives the cursor back", () => {
    const writes: string[] = [];
    const reporter = terminalReporter({ write: (text) => writes.push(text), columns: 30 });
    reporter.show(progress(1, [0.8]));
    for (const line of shown(writes)) expect(line.length).toBeLessThan(30);
    expect(writes[0]).toContain("\u001b[?25l");
    reporter.close();
    expect(writes.at(-1)).toBe("\u001b[?25h");
  });

  test("is drawn no oftener than four times a second, and after the last step", () => {
    let now = 0;
    const reporter = terminalReporter({ write: () => true }, () => now);
    expect(reporter.wants(1, 100)).toBe(true);
    reporter.show(progress(1, [0]));
    now = 249;
    expect([reporter.wants(2, 100), reporter.wants(100, 100)]).toEqual([false, true]);
    now = 250;
    expect(reporter.wants(2, 100)).toBe(true);
  });

  test("keeps the whole course of a long run in view", () => {
    const writes: string[] = [];
    const reporter = terminalReporter({ write: (text) => writes.push(text), columns: 200 });
    for (let step = 1; step <= 100; step++) reporter.show(progress(step, [1 / step]));
    const curve = shown(writes)[2].split(" ").at(-1)!;
    expect(curve).toMatch(/^█▇▆+▅+▄+▃+$/);
  });

  test("does not grow higher than the terminal, and says what it leaves out", () => {
    const writes: string[] = [];
    const reporter = terminalReporter({ write: (text) => writes.push(text), columns: 100, rows: 7 });
    for (const step of [1, 2]) reporter.show(progress(step, [0.1, 0.2, 0.3, 0.4, 0.5]));
    const lines = shown(writes).filter((line) => line !== "");
    expect(lines.length).toBe(6);
    expect(lines.at(-2)).toMatch(/^layer 2/);
    expect(lines.at(-1)).toBe("and 2 more layers");
  });
});

describe("lines", () => {
  test("come about twenty times in a run of any length, the first and last step among them", () => {
    const reporter = plainReporter(() => {});
    for (const steps of [1, 7, 20, 600, 12_345]) {
      const shownSteps = Array.from({ length: steps }, (_, i) => i + 1).filter((step) => reporter.wants(step, steps));
      expect(shownSteps.length).toBeLessThanOrEqual(21);
      expect([shownSteps[0], shownSteps.at(-1)]).toEqual([1, steps]);
    }
  });

  test("quantities and durations are short", () => {
    expect([7, 999, 1234, 1_190_317].map(quantity)).toEqual(["7", "999", "1.2k", "1.2M"]);
    expect([0.4, 59, 60, 3605].map(duration)).toEqual(["0s", "59s", "1m 00s", "60m 05s"]);
  });
});

test("a profile is a table of kernels with their rates and their share of the nearer ceiling, the shortest summed up", () => {
  const kernels = [
    { name: "matmul", calls: 2, ms: 6, bytes: 3e6, flops: 300e6 },
    ...Array.from({ length: 21 }, (_, i) => ({ name: `add${i}`, calls: 1, ms: 0.1, bytes: 1e6, flops: 1e6 })),
  ];
  const ceilings = { gflops: 100, gigabytesPerSecond: 20 };
  const lines = describeEvent({ event: "profile", milliseconds: 9.25, kernels, ceilings }).split("\n");
  expect(lines[0]).toMatch(/^a step takes 9\.3 ms/);
  expect(lines[1].split(/ {2,}/)).toEqual("kernel,calls,ms,share,MB,MFLOP,GB/s,GFLOP/s,of ceiling".split(","));
  expect(lines[2].split(/ {2,}/)).toEqual("matmul,2,6.00,74.1 %,3.0,300.0,0.5,50.0,50 %".split(","));
  expect(lines[3].split(/ {2,}/)).toEqual("add0,1,0.10,1.2 %,1.0,1.0,10.0,10.0,50 %".split(","));
  expect(lines.at(-3)).toMatch(/^2 more +2 +0\.20 /);
  expect(lines.at(-2)).toMatch(/^all +23 +8\.10 +100\.0 % /);
  const bare = describeEvent({ event: "profile", milliseconds: 9.25, kernels }).split("\n");
  expect(bare[1].trim().split(/ {2,}/)).toEqual(["kernel", "calls", "ms", "share"]);
});
