import { devices, init, profile, version } from "@switchyard/tensor";
import type { Peer } from "../../tasks.ts";
import { arithmetic } from "./arithmetic.ts";
import { measureCeilings } from "./ceilings.ts";
import { languageModel } from "./languageModel.ts";
import { mixture } from "./mixture.ts";

let threads = 1;
let wide = false;

/** This library on its `wasm` device. */
export const peer: Peer = {
  async start(options) {
    const { threads: asked, revectorize = false } = options;
    await init("wasm", { ...(asked !== undefined && { threads: asked }), ...(revectorize && { revectorize }) });
    const details = (await devices()).find(({ name }) => name === "wasm")!.details;
    threads = details.threads as number;
    wide = revectorize;
    return { version, ...details };
  },
  tasks: { ...arithmetic, ...mixture, ...languageModel },
  profile: async (task) => (await profile(() => task.run())).kernels,
  ceilings: () => measureCeilings(threads, wide),
};
