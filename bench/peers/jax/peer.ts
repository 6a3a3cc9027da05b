import { jaxPeer } from "./load.ts";

export const peer = jaxPeer("wasm");
