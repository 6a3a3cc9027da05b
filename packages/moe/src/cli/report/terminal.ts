import { styleText } from "node:util";
import type { Progress, TrainReporter } from "./events.ts";
import { describeEvent, describeProgress } from "./text.ts";

/** A terminal, as much of it as is needed. */
export interface Screen {
  write(text: string): unknown;
  readonly columns?: number;
}

const escape = "\u001b[";
const hideCursor = `${escape}?25l`;
const showCursor = `${escape}?25h`;
const clearToEnd = `${escape}0J`;
const up = (lines: number): string => (lines === 0 ? "\r" : `${escape}${lines}A\r`);

const blocks = "▁▂▃▄▅▆▇█";
/** Milliseconds between pictures: as often as an eye wants, and seldom enough to cost nothing. */
const pause = 250;
/** How many past values of CV² are drawn. */
const pastLength = 24;

/** A picture at the bottom of a terminal that each step draws anew; everything else scrolls above it. */
export function terminalReporter(screen: Screen, now: () => number = () => performance.now()): TrainReporter {
  const past: number[][] = [];
  let drawnAt = -Infinity;
  let drawnLines = 0;
  let open = false;
  const draw = (progress: Progress): void => {
    const lines = pictureOf(progress, past, screen.columns ?? 80);
    screen.write(`${open ? "" : hideCursor}${up(drawnLines)}${clearToEnd}${lines.join("\n")}\n`);
    open = true;
    drawnLines = lines.length;
  };
  return {
    wants: (step, steps) => step === steps || now() - drawnAt >= pause,
    show(event) {
      if (event.event === "progress") {
        drawnAt = now();
        remember(past, event);
        return draw(event);
      }
      drawnLines = 0; // the picture stays where it is
      screen.write(`${describeEvent(event)}\n\n`);
    },
    close() {
      if (open) screen.write(showCursor);
      open = false;
    },
  };
}

/** Keeps CV² of each layer for the curve; when full, every second value goes, so that the whole run stays in view. */
function remember(past: number[][], { cvSquared }: Progress): void {
  for (const [layer, value] of cvSquared.entries()) (past[layer] ??= []).push(value);
  if (past[0]?.length > pastLength)
    for (const [layer, values] of past.entries()) past[layer] = values.filter((_, i) => i % 2 === 0);
}

/** The lines of the picture, none longer than the terminal is wide. */
function pictureOf(progress: Progress, past: readonly (readonly number[])[], columns: number): string[] {
  const { step, steps, shares, cvSquared } = progress;
  const bar = barOf(step / steps, 24);
  const top = Math.max(...past.flat(), 1e-12);
  const layers = shares.map((layer, i) => {
    const even = 1 / layer.length;
    const experts = layer.map((share) => block(share / (2 * even))).join("");
    const percents = layer.map((share) => `${Math.round(100 * share)}`.padStart(2)).join(" ");
    const curve = past[i].map((value) => block(value / top)).join("");
    return `layer ${i}  ${experts}  ${percents} %  CV² ${cvSquared[i].toFixed(3)} ${curve}`;
  });
  const lines = [
    `${bar} ${describeProgress(progress)}`,
    "share of tokens by expert; CV² of the shares, falling as they even out",
    ...layers,
  ];
  return lines.map((line) => cut(line, columns)).map((line, i) => (i === 1 ? styleText("dim", line) : line));
}

const barOf = (share: number, width: number): string => {
  const full = Math.round(share * width);
  return `${"█".repeat(full)}${"░".repeat(width - full)}`;
};

const block = (height: number): string => blocks[Math.min(blocks.length - 1, Math.floor(height * blocks.length))];

const cut = (line: string, columns: number): string => (line.length < columns ? line : line.slice(0, columns - 1));
