import { profile, random, realize, tensor, type Tensor } from "@switchyard/tensor";
import { adamw, gradParts, valueAndGrad } from "@switchyard/autograd";
import { doctor } from "../diagnostics/doctor/doctor.ts";
import type { CloseLook, RouterPart } from "../report/closeLook.ts";
import { randomBatches, type TextBatch } from "../text/batches.ts";
import { textEntropies } from "../text/entropy.ts";
import { loadRun, readyCorpus, textOfRun, type CharacterModel, type CharacterModelParams } from "./languageModel.ts";

/** Looks into the model of a run: what its experts read, what moves its routers, where the time of a step goes. */
export async function lookAt(dir: string, device: string, seed: number): Promise<CloseLook> {
  const { config, model, params, tokenizer } = await loadRun(dir);
  const corpus = readyCorpus(await textOfRun(config, dir), model.context, tokenizer);
  const batch = randomBatches(corpus.train, { batch: config.batch, context: model.context }, seed)(0);
  return {
    entropies: textEntropies(corpus.all, tokenizer.size),
    passage: await passageOf(model, params, corpus.heldOut, (id) => tokenizer.decode([id])),
    experts: config.model.experts,
    diagnosis: await doctor(model.apply(params, batch.tokens)),
    router: await routerParts(model, params, batch, seed),
    kernels: await kernelsOfStep(model, params, batch, seed),
    device,
  };
}

/** Sequences of a passage: enough to see what an expert likes. */
const sequences = 6;

async function passageOf(
  model: CharacterModel,
  params: CharacterModelParams,
  text: Int32Array,
  wordOf: (id: number) => string,
): Promise<CloseLook["passage"]> {
  const count = Math.max(1, Math.min(sequences, Math.floor(text.length / model.context)));
  const ids = text.subarray(0, Math.min(text.length, count * model.context));
  const { routings } = model.apply(params, tensor(ids, { shape: [count, ids.length / count] }));
  const chosen = await Promise.all(routings.map((routing) => routing.experts.data())); // [T, k] each
  const k = chosen[0].length / ids.length;
  return {
    tokens: Array.from(ids, wordOf),
    layers: chosen.map((experts) => Array.from(ids, (_, t) => experts[t * k])),
  };
}

/** The gradient of each gate, by the term of the loss that it comes from. */
async function routerParts(
  model: CharacterModel,
  params: CharacterModelParams,
  batch: TextBatch,
  seed: number,
): Promise<RouterPart[]> {
  const lossOf = (p: CharacterModelParams) => model.loss(p, batch, { train: true, key: random.key(seed) });
  const parts = gradParts(lossOf)(params);
  const rows = params.layers.flatMap((_, layer) => {
    const byTerm = new Map<string, Tensor>();
    for (const { class: path, grads } of parts) {
      const gate = grads.layers[layer].moe!.router.gate;
      const [term, before] = [path.term ?? "task", byTerm.get(path.term ?? "task")];
      byTerm.set(term, before ? before.add(gate) : gate);
    }
    const total = [...byTerm.values()].reduce((sum, part) => sum.add(part));
    return [...byTerm].map(async ([term, part]): Promise<RouterPart> => {
      const [norm, dot, square] = await Promise.all([
        part.norm().item(),
        part.mul(total).sum().item(),
        total.square().sum().item(),
      ]);
      return { layer, term, norm, share: square === 0 ? 0 : dot / square };
    });
  });
  return (await Promise.all(rows)).filter((row) => row.norm > 0);
}

/** One step, timed when its kernels are compiled. */
async function kernelsOfStep(
  model: CharacterModel,
  params: CharacterModelParams,
  batch: TextBatch,
  seed: number,
): Promise<CloseLook["kernels"]> {
  const optimizer = adamw({ learningRate: 1e-3 });
  const state = await realize(optimizer.init(params));
  const step = async (): Promise<void> => {
    const lossOf = (p: CharacterModelParams) => model.loss(p, batch, { train: true, key: random.key(seed) });
    const [, grads] = valueAndGrad(lossOf)(params);
    const updated = await realize(optimizer.update(params, grads, state));
    await realize([], { donate: updated });
  };
  await step();
  return (await profile(step)).kernels;
}
