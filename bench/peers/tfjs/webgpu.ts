import type { Peer } from "../../tasks.ts";
import { installGpu, softwareFlags } from "../pageGpu.ts";
import { tfjsPeer } from "./peer.ts";

installGpu(softwareFlags);

export const peer: Peer = await tfjsPeer("webgpu");
