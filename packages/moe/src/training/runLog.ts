import { FormatError } from "@switchyard/tensor";
import type { RoutingStatistics } from "../diagnostics/routingStatistics.ts";
import type { Evaluation } from "./evaluate.ts";
import * as files from "#files";

/** What a run notes of a step: a line of `metrics.jsonl`. */
export interface StepRecord {
  /** Steps done, from 1. */
  readonly step: number;
  /** When, in milliseconds since 1970: the only number here that another run of the same seed does not repeat. */
  readonly time: number;
  /** Each scalar that the model's loss came with, by path. */
  readonly scalars: { readonly [path: string]: number };
  readonly learningRate?: number;
  /** Before clipping; not where it is not finite, as in f16 of a step that was skipped. */
  readonly gradientNorm?: number;
  /** After the step, in f16. */
  readonly lossScale?: number;
  readonly evaluation?: Evaluation;
  /** Of about two hundred steps of a run, by the path of the routing. */
  readonly routing?: { readonly [path: string]: RoutingStatistics };
}

/** What a model wrote after a number of steps: a line of `samples.jsonl`. */
export interface SampleRecord {
  readonly step: number;
  readonly prompt: string;
  readonly text: string;
}

/** Records by step in a run's directory, a line of JSON each. */
export interface RunLog<R> {
  /** Whether there is one. */
  isBegun(dir: string): Promise<boolean>;
  /** All so far, none if it is not begun; a last line that a kill cut short is left out. @throws {FormatError} at a line that is none. */
  read(dir: string): Promise<R[]>;
  note(dir: string, record: R): Promise<void>;
  /** Back to where a checkpoint was made: what came after it will come again. */
  rewind(dir: string, steps: number): Promise<void>;
  /** Waits until all that was noted is on the disk. */
  settle(dir: string): Promise<void>;
}

function runLog<R extends { readonly step: number }>(name: string): RunLog<R> {
  const at = (dir: string): string => files.joinPath(dir, name);
  const line = (record: R): string => `${JSON.stringify(record)}\n`;
  async function* records(dir: string): AsyncGenerator<R> {
    if (!(await files.exists(at(dir)))) return;
    const lines = new TextDecoder().decode(await files.readBytes(at(dir))).split("\n");
    for (const [i, text] of lines.slice(0, -1).entries()) yield parsed<R>(text, `${at(dir)}: line ${i + 1}`);
  }
  return {
    isBegun: (dir) => files.exists(at(dir)),
    async read(dir) {
      const all: R[] = [];
      for await (const record of records(dir)) all.push(record);
      return all;
    },
    note: (dir, record) => files.append(at(dir), line(record)),
    async rewind(dir, steps) {
      let kept = "";
      // No line beyond the checkpoint's is looked at: it was never waited for, and may be anything after a loss of power.
      for await (const record of records(dir)) {
        if (record.step <= steps) kept += line(record);
        if (record.step >= steps) break;
      }
      await files.writeAtomically(at(dir), new TextEncoder().encode(kept));
    },
    settle: (dir) => files.settle(at(dir)),
  };
}

function parsed<R>(text: string, where: string): R {
  try {
    return JSON.parse(text) as R;
  } catch {
    throw new FormatError(`${where} is not JSON`);
  }
}

export const metricsLog: RunLog<StepRecord> = runLog("metrics.jsonl");
export const samplesLog: RunLog<SampleRecord> = runLog("samples.jsonl");
