import { aboutTimes } from "../../training/aboutTimes.ts";
import type { Judgement } from "../judge.ts";
import { describeProfile } from "./kernels.ts";
import type { Progress, TrainEvent, TrainReporter } from "./events.ts";

const nats = (x: number): string => x.toFixed(3);

/** `1m 05s`. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  return whole < 60 ? `${whole}s` : `${Math.floor(whole / 60)}m ${String(whole % 60).padStart(2, "0")}s`;
}

/** `12.3k`, `1.2M`. */
export function quantity(n: number): string {
  if (n < 1000) return n.toFixed(0);
  return n < 1e6 ? `${(n / 1e3).toFixed(1)}k` : `${(n / 1e6).toFixed(1)}M`;
}

export function describeJudgement(judgement: Judgement): string {
  const { heldOut, characters, unigram, bigram, perplexity, bitsPerByte, accuracy } = judgement;
  const verdict =
    heldOut < bigram
      ? "below what a table of pairs of characters could reach"
      : heldOut < unigram
        ? "below what single characters tell, not yet what pairs do"
        : "no better than counting characters";
  return [
    `held-out loss ${nats(heldOut)} nats per character: ${verdict}`,
    `perplexity ${perplexity.toFixed(2)}, ${bitsPerByte.toFixed(3)} bits per byte, ${(100 * accuracy).toFixed(1)} % of characters foretold`,
    `(unigram ${nats(unigram)}, bigram ${nats(bigram)}; judged by ${quantity(characters)} characters)`,
  ].join("\n");
}

export function describeProgress({ step, steps, loss, heldOut, tokensPerSecond, secondsLeft }: Progress): string {
  const held = heldOut === undefined ? "" : `  held-out ${nats(heldOut)}`;
  return `step ${step}/${steps}  loss ${nats(loss)}${held}  ${quantity(tokensPerSecond)} tokens/s  ${duration(secondsLeft)} left`;
}

/** Rows in columns, the first to the left, the others to the right. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0].map((_, i) => Math.max(...rows.map((row) => row[i].length)));
  const cell = (text: string, i: number): string => (i === 0 ? text.padEnd(widths[i]) : text.padStart(widths[i]));
  return rows.map((row) => row.map(cell).join("  ").trimEnd()).join("\n");
}

/** Everything but progress, as lines of text. */
export function describeEvent(event: Exclude<TrainEvent, Progress>): string {
  switch (event.event) {
    case "begin":
      return [
        `training ${event.run} on ${event.device}${event.revectorized ? ", 256 bits wide" : ""}: ${quantity(event.parameters)} parameters, of which a token meets ${quantity(event.activeParameters)}`,
        `text: ${quantity(event.trainCharacters)} characters to train on, ${quantity(event.heldOutCharacters)} held out, ${event.vocabulary} different`,
        `its entropy: ${nats(event.unigram)} nats by characters, ${nats(event.bigram)} by pairs: the mark to beat`,
      ].join("\n");
    case "sample":
      return `${event.when} training: ${JSON.stringify(event.prompt)} goes on\n${indented(event.text)}`;
    case "profile":
      return describeProfile(event);
    case "stopped":
      return `stopped after step ${event.step} of ${event.steps}; go on with: npx switchyard train --resume ${event.run}`;
    case "end":
      return [
        describeJudgement(event),
        `${event.run} holds the model, after ${duration(event.seconds)}; try: npx switchyard sample`,
      ].join("\n");
  }
}

const indented = (text: string): string => text.replace(/^/gm, "  | ");

export const percent = (share: number): string => `${Math.round(100 * share)}`.padStart(3);

/** Four digits show what chance makes of a batch. */
export const cvSquaredText = (cvSquared: number): string => cvSquared.toFixed(4);

/** One JSON object for each event, and for about fifty steps. */
export const jsonReporter = (write: (line: string) => void): TrainReporter => ({
  wants: aboutTimes(50),
  show: (event) => write(`${JSON.stringify(event)}\n`),
  close: () => {},
});

/** Lines, of progress about twenty, for files and pipes. */
export const plainReporter = (write: (line: string) => void): TrainReporter => ({
  wants: aboutTimes(20),
  show(event) {
    if (event.event !== "progress") return write(`${describeEvent(event)}\n`);
    write(`${describeProgress(event)}\n`);
    const chance = cvSquaredText(event.cvSquaredByChance);
    for (const [layer, shares] of event.shares.entries())
      write(
        `  layer ${layer}  % of tokens by expert ${shares.map(percent).join("")}  CV² ${cvSquaredText(event.cvSquared[layer])} (by chance ${chance})\n`,
      );
  },
  close: () => {},
});
