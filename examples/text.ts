import { readFile } from "node:fs/promises";
import { corpusOf, randomBatches, type TextBatch } from "@switchyard/moe";

/** Batches of sequences drawn from a file, a pure function of the step. Printable ASCII is kept, so there are at most 96 characters. */
export async function batchesOf(path: string): Promise<(step: number) => TextBatch> {
  const sizes = { batch: 16, context: 16 };
  const text = (await readFile(path, "utf8")).replaceAll(/[^\n -~]/g, "");
  const { train } = corpusOf(text, path, { atLeast: sizes.context + 1 });
  return randomBatches(train, sizes, 0);
}
