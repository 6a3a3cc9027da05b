import { tfjsPeer } from "./peer.ts";

export const peer = await tfjsPeer("cpu");
