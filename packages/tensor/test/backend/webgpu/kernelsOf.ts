import { globals } from "webgpu";

type Kernels =
  | "hardware"
  | "hardware without subgroups"
  | "hardware whose subgroups vary"
  | "software"
  | "software without subgroups";

let kernels = (process.env.SWITCHYARD_GPU_KERNELS ?? "hardware") as Kernels;

const { GPU, GPUAdapterInfo } = globals as unknown as {
  GPU: { prototype: GPU };
  GPUAdapterInfo: { prototype: GPUAdapterInfo };
};
Object.defineProperty(GPUAdapterInfo.prototype, "isFallbackAdapter", { get: () => kernels.startsWith("software") });

// oxlint-disable-next-line typescript/unbound-method -- called on the adapter's info below
const { get: leastSize } = Object.getOwnPropertyDescriptor(GPUAdapterInfo.prototype, "subgroupMinSize")!;
Object.defineProperty(GPUAdapterInfo.prototype, "subgroupMinSize", {
  get(this: GPUAdapterInfo): number {
    return kernels === "hardware whose subgroups vary" ? 2 : (leastSize!.call(this) as number);
  },
});

// oxlint-disable-next-line typescript/unbound-method -- called on the GPU below
const requestAdapter = GPU.prototype.requestAdapter;
GPU.prototype.requestAdapter = async function (this: GPU, options?: GPURequestAdapterOptions) {
  const adapter = await requestAdapter.call(this, options);
  if (adapter && kernels.endsWith("without subgroups")) {
    const features = new Set([...adapter.features].filter((feature) => !feature.includes("subgroup")));
    Object.defineProperty(adapter, "features", { value: features });
  }
  return adapter;
};

/**
 * Which kernels a device that is started from now on runs: those for hardware, which most tests are there to test though the adapter be
 * software, the same on an adapter that has no subgroups or says that they may be as small as 2, or those for software, with subgroups or
 * without.
 */
export function kernelsOf(adapter: Kernels): void {
  kernels = adapter;
}
