import { availableParallelism } from "node:os";
import { init, profile, version } from "@switchyard/tensor";
import type { Peer } from "../../tasks.ts";
import { arithmetic } from "./arithmetic.ts";
import { measureCeilings } from "./ceilings.ts";
import { languageModel } from "./languageModel.ts";
import { mixture } from "./mixture.ts";

let threads = 1;
let wide = false;

/** This library on its `wasm` device. */
export const peer: Peer = {
  async start({ threads: asked, revectorize = false }) {
    await init("wasm", { ...(asked !== undefined && { threads: asked }), ...(revectorize && { revectorize }) });
    threads = asked ?? availableParallelism();
    wide = revectorize;
    return { version, threads, revectorize };
  },
  tasks: { ...arithmetic, ...mixture, ...languageModel },
  profile: async (task) => (await profile(() => task.run())).kernels,
  ceilings: () => measureCeilings(threads, wide),
};
