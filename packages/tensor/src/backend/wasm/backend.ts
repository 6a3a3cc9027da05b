import { DeviceError } from "../../errors.ts";
import type { InitOptions } from "../../runtime/devices.ts";
import type { Backend } from "../backend.ts";

export function wasmBackend(_options: InitOptions): Promise<Backend> {
  throw new DeviceError("wasm: not built yet");
}
