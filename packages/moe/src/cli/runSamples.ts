import { random, realize } from "@switchyard/tensor";
import { generate } from "../models/generate.ts";
import { samplesLog } from "../training/runLog.ts";
import { loadRun, type CharacterModelParams } from "./languageModel.ts";
import type { Prepared } from "./prepareRun.ts";
import type { TrainReporter } from "./report/events.ts";

/** What a model writes before it has learned anything. */
export async function showUntrained(prepared: Prepared, dir: string, reporter: TrainReporter): Promise<void> {
  const params = await realize(prepared.model.init(random.key(prepared.config.seed)));
  const sample = await sampleOf(prepared, params, 80);
  await realize([], { donate: params });
  await samplesLog.note(dir, { step: 0, ...sample });
  reporter.show({ event: "sample", when: "before", ...sample });
}

/** A run that was killed between its checkpoint and the sample that belongs to it. */
export async function makeUpSample(prepared: Prepared, dir: string, step: number): Promise<void> {
  const { evalEvery, steps } = prepared.config;
  const wasDue = step % evalEvery === 0 || step === steps;
  if (!wasDue || (await samplesLog.read(dir)).some((sample) => sample.step === step)) return;
  const { params } = await loadRun(dir);
  await samplesLog.note(dir, { step, ...(await sampleOf(prepared, params, sampleLength)) });
}

/** Tokens of a sample that is only noted. */
export const sampleLength = 48;

/** How a model goes on with the beginning of the held-out text. */
export async function sampleOf({ model, corpus, config }: Prepared, params: CharacterModelParams, maxTokens: number) {
  const prompt = [...corpus.heldOut.subarray(0, Math.min(24, model.context))];
  const options = { prompt, maxTokens, temperature: 0.8, key: random.key(config.seed) };
  const ids: number[] = [];
  for await (const id of generate(model, params, options)) ids.push(id);
  const { tokenizer } = corpus;
  return { prompt: tokenizer.decode(prompt), text: tokenizer.decode(ids) };
}
