import { styleText } from "node:util";
import { createCurve, type Curve } from "./curve.ts";
import type { Progress, TrainReporter } from "./events.ts";
import { cvSquaredText, describeEvent, describeProgress, percent } from "./text.ts";

/** A terminal, as much of it as is needed. */
export interface Screen {
  write(text: string): unknown;
  readonly columns?: number;
  readonly rows?: number;
}

const escape = "\u001b[";
const hideCursor = `${escape}?25l`;
const showCursor = `${escape}?25h`;
const clearToEnd = `${escape}0J`;
const up = (lines: number): string => (lines === 0 ? "\r" : `${escape}${lines}A\r`);

const blocks = "▁▂▃▄▅▆▇█";
/** Milliseconds between pictures: as often as an eye wants, and seldom enough to cost nothing. */
const pause = 250;
/** Columns of the bar and of the curve of CV², where the terminal is wide enough. */
const widest = 32;
const heading = "% of tokens by expert (▄ even)";

/** A picture at the bottom of a terminal that each step draws anew; everything else scrolls above it. */
export function terminalReporter(screen: Screen, now: () => number = () => performance.now()): TrainReporter {
  let curves: readonly Curve[] | undefined;
  let drawnAt = -Infinity;
  let drawnLines = 0;
  let open = false;
  const draw = (progress: Progress): void => {
    const { step, steps, shares, cvSquared } = progress;
    const { columns = 80, rows = 24 } = screen;
    const layers = shares.map((layer, i) => describeLayer(layer, i, shares.length, columns));
    const room = columns - 1 - Math.max(heading.length, layers[0].length) - "  0.0000 ".length;
    curves ??= shares.map(() => createCurve(Math.min(widest, Math.max(1, room))));
    for (const [i, curve] of curves.entries()) curve.add(cvSquared[i], step / steps, 1 / steps);
    const lines = pictureOf(progress, layers, curves, { columns, rows });
    screen.write(`${open ? "" : hideCursor}${up(drawnLines)}${clearToEnd}${lines.join("\n")}\n`);
    open = true;
    drawnLines = lines.length;
  };
  return {
    wants: (step, steps) => step === steps || now() - drawnAt >= pause,
    show(event) {
      if (event.event === "progress") {
        drawnAt = now();
        return draw(event);
      }
      screen.write(`${drawnLines > 0 ? "\n" : ""}${describeEvent(event)}\n\n`);
      drawnLines = 0; // the picture stays where it is
    },
    close() {
      if (open) screen.write(showCursor);
      open = false;
    },
  };
}

/** The shares of a layer as bars, and in percent too if half of the terminal has room for them. */
function describeLayer(shares: readonly number[], index: number, count: number, columns: number): string {
  const name = `layer ${index}`.padEnd(`layer ${count - 1}`.length);
  const bars = `${name}  ${shares.map((share) => shareBar(share * shares.length)).join("")}`;
  const numbers = `${bars} ${shares.map(percent).join("")} %`;
  return numbers.length > columns / 2 + 8 ? bars : numbers;
}

/** The lines of the picture: none longer than the terminal is wide, and no more than it is high. */
function pictureOf(
  progress: Progress,
  layers: readonly string[],
  curves: readonly Curve[],
  { columns, rows }: { readonly columns: number; readonly rows: number },
): string[] {
  const { step, steps, cvSquared, cvSquaredByChance: chance } = progress;
  const courses = curves.map((curve) => curve.columns());
  // Ten times chance at least, so that chance alone never looks like a mountain.
  const top = Math.max(10 * chance, ...courses.flat().filter((value) => value !== undefined));
  const table = [
    [heading, `log CV²: ▁ chance ${cvSquaredText(chance)} █ ${cvSquaredText(top)}`],
    ...layers.map((layer, i) => [
      layer,
      `${cvSquaredText(cvSquared[i])} ${courses[i].map((value) => curvePoint(value, chance, top)).join("")}`,
    ]),
  ];
  const fitting = table.slice(0, Math.max(2, rows - 3));
  const more = table.length - fitting.length;
  const width = Math.max(...fitting.map(([left]) => left.length));
  const described = describeProgress(progress);
  const lines = [
    `${barOf(step / steps, Math.min(widest, Math.max(8, columns - 2 - described.length)))} ${described}`,
    ...fitting.map(([left, right]) => `${left.padEnd(width)}  ${right}`),
    ...(more > 0 ? [`and ${more} more layer${more > 1 ? "s" : ""}`] : []),
  ];
  return lines.map((line) => cut(line, columns)).map((line, i) => (i === 1 ? styleText("dim", line) : line));
}

const barOf = (share: number, width: number): string => {
  const full = Math.round(share * width);
  return `${"█".repeat(full)}${"░".repeat(width - full)}`;
};

/** A block half as high as a line for an even share, 1, and full for twice that or more; a gap for nothing. */
const shareBar = (share: number): string => (share === 0 ? " " : block(share / 2));

/** A value between two others by its logarithm; what is not known is a dot. */
function curvePoint(value: number | undefined, least: number, most: number): string {
  if (value === undefined) return "·";
  return value <= least ? blocks[0] : block(Math.log(value / least) / Math.log(most / least));
}

/** The block nearest to a height from 0 to 1. */
const block = (height: number): string => blocks[Math.min(Math.max(Math.round(height * 8), 1), 8) - 1];

const cut = (line: string, columns: number): string => (line.length < columns ? line : line.slice(0, columns - 1));
