import type { Peer } from "../../tasks.ts";
import { arithmetic } from "./arithmetic.ts";
import { loadTensorFlow } from "./load.ts";

/** TensorFlow.js. Its wasm backend has one thread in Node. */
export async function tfjsPeer(backend: "wasm" | "cpu"): Promise<Peer> {
  const tf = await loadTensorFlow(backend);
  return { start: async () => ({ version: tf.version_core, backend: tf.getBackend() }), tasks: arithmetic(tf) };
}
