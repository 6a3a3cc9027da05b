import type { Peer } from "../../tasks.ts";
import { arithmetic } from "./arithmetic.ts";
import { languageModel } from "./languageModel.ts";
import { loadTensorFlow, type TensorFlowBackend } from "./load.ts";
import { mixture } from "./mixture.ts";

/** TensorFlow.js. Its wasm backend has one thread in Node. */
export async function tfjsPeer(backend: TensorFlowBackend): Promise<Peer> {
  const tf = await loadTensorFlow(backend);
  const tasks = { ...arithmetic(tf), ...mixture(tf), ...languageModel(tf) };
  return { start: async () => ({ version: tf.version_core, backend: tf.getBackend() }), tasks };
}
