/** WebGPU as a page has it, for libraries made for pages: they look for `navigator.gpu` and for the names of its flags. */
import { create, globals } from "webgpu";

/** Held for ever: when it is collected while a device lives, the process crashes. */
let gpu: GPU | undefined;

/** @param flags of Dawn. */
export function installGpu(flags: readonly string[]): void {
  gpu ??= create([...flags]);
  Object.assign(globalThis, globals);
  Object.defineProperty(globalThis, "navigator", { value: { gpu, userAgent: "Node" }, configurable: true });
}

/** What our own device asks of Dawn: without it, compiling on a software adapter takes fifty times as long. */
export const softwareFlags = ["enable-dawn-features=disable_workgroup_init"];
