import { devices, init, profile, version } from "@switchyard/tensor";
import type { Peer } from "../../tasks.ts";
import { arithmetic } from "./arithmetic.ts";
import { mixture } from "./mixture.ts";

/** This library on its `webgpu` device. */
export const peer: Peer = {
  async start() {
    await init("webgpu");
    const { adapter } = (await devices()).find(({ name }) => name === "webgpu")!.details;
    return { version, adapter };
  },
  tasks: { ...arithmetic, ...mixture },
  profile: async (task) => (await profile(() => task.run())).kernels,
};
