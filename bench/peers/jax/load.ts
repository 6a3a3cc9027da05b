import { readFileSync } from "node:fs";
import { defaultDevice, init } from "@jax-js/jax";
import type { Peer } from "../../tasks.ts";
import { arithmetic } from "./arithmetic.ts";
import { languageModel } from "./languageModel.ts";
import { mixture } from "./mixture.ts";

// The package does not export its own description, which lies beside its code.
const description = new URL("../package.json", import.meta.resolve("@jax-js/jax"));
const { version } = JSON.parse(readFileSync(description, "utf8")) as { version: string };

/** jax-js. Its wasm backend has one thread in Node. */
export const jaxPeer = (backend: "wasm" | "webgpu"): Peer => ({
  async start() {
    await init(backend);
    return { version, backend: defaultDevice(backend) };
  },
  tasks: { ...arithmetic, ...mixture, ...languageModel },
});
