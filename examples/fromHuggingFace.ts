// Goes on with a text, with a model of transformers: `npm run example examples/fromHuggingFace.ts DIR`. Without DIR, a tiny one with random weights.
import { fileURLToPath } from "node:url";
import { init, random } from "@switchyard/tensor";
import { decodePieces, generate, importHf } from "@switchyard/moe";

const tiny = fileURLToPath(new URL("../packages/moe/test/interop/hf/olmoe", import.meta.url));

/** A text, and how the model in a directory goes on with it, piece by piece. */
export async function* goOn(dir: string, text: string, maxTokens: number) {
  const { model, params, tokenizer } = await importHf(dir);
  const prompt = tokenizer.encode(text);
  yield text;
  const ids = generate(model, params, { prompt, maxTokens, temperature: 0.8, topP: 0.95, key: random.key(0) });
  yield* decodePieces(tokenizer, ids, prompt);
}

if (import.meta.main) {
  await init(["webgpu", "wasm"]);
  for await (const piece of goOn(process.argv[2] ?? tiny, "Call me", 64)) process.stdout.write(piece);
  process.stdout.write("\n");
}
