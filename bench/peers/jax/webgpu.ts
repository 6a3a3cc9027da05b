import type { Peer } from "../../tasks.ts";
import { installGpu, softwareFlags } from "../pageGpu.ts";

// Before the library is loaded, which looks for it then.
installGpu(softwareFlags);
const { jaxPeer } = await import("./load.ts");

export const peer: Peer = jaxPeer("webgpu");
