import { DeviceError } from "../../errors.ts";
import type { MatrixShape } from "./matrices.ts";
import type { SubgroupSizes } from "./shader.ts";

/** Usage flags, whose values the standard fixes: Node has no globals for them. */
export const usage = {
  mapRead: 1,
  copySource: 4,
  copyTarget: 8,
  uniform: 64,
  storage: 128,
  queryResolve: 512,
} as const;
export const computeStage = 4;
export const mapForReading = 1;

/**
 * In Node the object that made the adapters must outlive every device: if it is collected earlier, the process crashes. It is
 * held here, on its own, from the first device to the last.
 */
let nodeGpu: GPU | undefined;
let openDevices = 0;

/**
 * Our kernels write workgroup memory before they read it. To have it cleared costs time on every dispatch, and on a software
 * adapter makes compiling fifty times slower. Timestamps are for profiles; nobody is spied on here.
 */
const nodeFlags = [
  "enable-dawn-features=disable_workgroup_init,allow_unsafe_apis",
  "disable-dawn-features=timestamp_quantization",
];

async function gpu(): Promise<GPU> {
  const own = (globalThis as { navigator?: { gpu?: GPU } }).navigator?.gpu;
  if (own) return own;
  if (nodeGpu) return nodeGpu;
  // A variable name, so that bundlers for the browser do not look for the package.
  const name = "webgpu";
  let module: { create: (flags: readonly string[]) => GPU };
  try {
    module = (await import(/* @vite-ignore */ name)) as typeof module;
  } catch (error) {
    throw new DeviceError('webgpu: not in this environment; in Node, install the package "webgpu"', { cause: error });
  }
  return (nodeGpu ??= module.create(nodeFlags));
}

export interface OpenDevice {
  readonly device: GPUDevice;
  readonly adapter: GPUAdapter;
  /** Undefined where kernels do not use subgroups. */
  readonly subgroups?: SubgroupSizes;
  /** Undefined where subgroups cannot multiply matrices of f16. */
  readonly matrices?: MatrixShape;
  /** Names of the adapters that were there and not chosen. */
  readonly others: readonly string[];
  /** Ends the device. */
  close(): void;
}

const wantedLimits = [
  "maxStorageBuffersPerShaderStage",
  "maxStorageBufferBindingSize",
  "maxBufferSize",
  "maxComputeWorkgroupStorageSize",
] as const;

/**
 * A device on the fastest adapter there is, with the adapter's own limits where they matter.
 * @throws {DeviceError} if there is no adapter.
 */
export async function openDevice(): Promise<OpenDevice> {
  const api = await gpu();
  const adapter = await api.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) {
    throw new DeviceError("webgpu: no adapter; a driver for Vulkan, Metal or Direct3D 12 is needed, or use wasm");
  }
  const others = new Set(await otherAdapters(api));
  others.delete(adapterName(adapter));
  const requiredLimits = Object.fromEntries(wantedLimits.map((name) => [name, adapter.limits[name]]));
  const optional = ["timestamp-query", "shader-f16", "subgroups", sizeControl, matrixFeature] as GPUFeatureName[];
  const requiredFeatures = optional.filter((feature) => adapter.features.has(feature));
  const device = await adapter.requestDevice({ label: "switchyard", requiredLimits, requiredFeatures });
  openDevices++;
  let open = true;
  const close = (): void => {
    if (!open) return;
    open = false;
    device.destroy();
    if (--openDevices === 0) nodeGpu = undefined;
  };
  const subgroups = subgroupSizes(api, adapter);
  const matrices = subgroups && matrixShape(adapter, subgroups);
  return { device, adapter, subgroups, matrices, others: [...others], close };
}

/** Too new for the types of WebGPU. */
const sizeControl = "subgroup-size-control";

/** Subgroups by themselves are not enough: a kernel must be able to tell which of a workgroup's it is in. */
function subgroupSizes(api: GPU, { features, info }: GPUAdapter): SubgroupSizes | undefined {
  if (!features.has("subgroups") || !api.wgslLanguageFeatures.has("subgroup_id")) return undefined;
  return {
    least: info.subgroupMinSize,
    most: info.subgroupMaxSize,
    control: features.has(sizeControl as GPUFeatureName),
  };
}

/** Dawn's own; only where `allow_unsafe_apis` is set. */
const matrixFeature = "chromium-experimental-subgroup-matrix";

/**
 * The first of the shapes that the adapter names, the one that it prefers, of those that are of f16 and add up in f32. None where kernels would
 * not use it: on software, and where subgroups are of several sizes.
 */
function matrixShape({ features, info }: GPUAdapter, { least, most }: SubgroupSizes): MatrixShape | undefined {
  if (!features.has(matrixFeature as GPUFeatureName) || info.isFallbackAdapter || least !== most) return undefined;
  const { subgroupMatrixConfigs = [] } = info as { subgroupMatrixConfigs?: readonly SubgroupMatrixConfig[] };
  const config = [...subgroupMatrixConfigs].find((c) => c.componentType === "f16" && c.resultComponentType === "f32");
  return config && { m: config.M, n: config.N, k: config.K };
}

interface SubgroupMatrixConfig {
  readonly componentType: string;
  readonly resultComponentType: string;
  readonly M: number;
  readonly N: number;
  readonly K: number;
}

/**
 * Names of what else can be asked for; an adapter may answer to several requests. None of them stands in where there is no other: who asks
 * for a GPU or else `wasm` does not want a GPU that is played by the CPU.
 */
async function otherAdapters(api: GPU): Promise<string[]> {
  const requests: readonly GPURequestAdapterOptions[] = [
    { powerPreference: "low-power" },
    { forceFallbackAdapter: true },
  ];
  const found = await Promise.all(requests.map((request) => api.requestAdapter(request)));
  return found.flatMap((adapter) => (adapter ? [adapterName(adapter)] : []));
}

/** How an adapter calls itself. */
const adapterName = ({ info }: GPUAdapter): string =>
  [info.vendor, info.architecture, info.device, info.description].filter(Boolean).join(" ");

/** What a list of devices says of the adapter. */
export function describeAdapter({
  adapter,
  device,
  subgroups,
  matrices,
  others,
}: OpenDevice): Readonly<Record<string, string | number | boolean>> {
  const { limits } = device;
  return {
    adapter: adapterName(adapter),
    software: adapter.info.isFallbackAdapter,
    subgroups: subgroups
      ? subgroups.least === subgroups.most
        ? subgroups.least
        : `${subgroups.least} to ${subgroups.most}`
      : "not used",
    ...(matrices && { subgroupMatrices: `f16 ${matrices.m}x${matrices.n}x${matrices.k}` }),
    ...(others.length > 0 && { otherAdapters: others.join("; ") }),
    maxBufferSize: limits.maxBufferSize,
    maxBindingSize: limits.maxStorageBufferBindingSize,
    storageBuffers: limits.maxStorageBuffersPerShaderStage,
    workgroupMemory: limits.maxComputeWorkgroupStorageSize,
    workgroupInvocations: limits.maxComputeInvocationsPerWorkgroup,
    features: [...adapter.features].toSorted().join(" "),
  };
}
