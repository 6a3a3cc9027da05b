import { globals } from "webgpu";

let kernels: "hardware" | "software" = "hardware";

const { prototype } = (globals as unknown as { GPUAdapterInfo: { prototype: object } }).GPUAdapterInfo;
Object.defineProperty(prototype, "isFallbackAdapter", { get: () => kernels === "software" });

/**
 * Which kernels a device that is started from now on runs: those for hardware, which most tests are there to test though the adapter be
 * software, or those for software.
 */
export function kernelsOf(adapter: "hardware" | "software"): void {
  kernels = adapter;
}
