import type { Backend } from "../backend/backend.ts";
import { ConfigError, DeviceError } from "../errors.ts";
import { checkOptions, flag, wholeNumber } from "../options.ts";
import { honourSourceMaps, setDebugLines } from "../provenance.ts";
import { checkDevice, type DeviceName, type DType } from "../types.ts";
import { ledgerOf } from "./memory.ts";

export interface InitOptions {
  /** User lines in errors, leak sites, index checks and run-twice warnings. */
  readonly debug?: boolean;
  /** `wasm`: how many worker threads; by default as many as there are processors. */
  readonly threads?: number;
  /** `wasm`: false computes multiply-adds in two roundings, as every engine can, even where relaxed SIMD does it in one. */
  readonly relaxedSimd?: boolean;
  /** `wasm` in Node: ask V8 for 256-bit vectors. Acts on the whole process. */
  readonly revectorize?: boolean;
}

type Starter = (options: InitOptions) => Promise<Backend>;

const starters: { [D in DeviceName]: Starter } = {
  cpu: async () => (await import("../backend/reference/backend.ts")).referenceBackend(),
  wasm: async (options) => (await import("../backend/wasm/backend.ts")).wasmBackend(options),
  webgpu: async () => (await import("../backend/webgpu/backend.ts")).webgpuBackend(),
};

interface Started {
  readonly options: string;
  readonly backend: Promise<Backend>;
}

const started = new Map<DeviceName, Started>();
const live = new Map<DeviceName, Backend>();
/** What `init` has promised, by what it was asked, until `shutdown`. */
const promised = new Map<string, Promise<DeviceName>>();
let chosen: DeviceName = "wasm";

/**
 * Starts a device and makes it the default. Optional for `cpu` and `wasm`, which start with their own first work. A device that was lost
 * is started anew; tensors that lived there are gone.
 *
 * @param device one name, or several in order of preference: the first that starts is taken. Nothing falls back silently.
 * @returns the name of the device that started. The same call again gives the same promise, unless the device was lost or none started.
 * @throws {DeviceError} if none starts, with each one's reason.
 * @throws {ConfigError} if a device already runs with other options.
 */
export function init(device: DeviceName | readonly DeviceName[], options: InitOptions = {}): Promise<DeviceName> {
  const names = [device].flat() as readonly DeviceName[];
  const call = JSON.stringify([names, options && written(options)]);
  const lost = names.some((name) => live.get(name)?.failure);
  const kept = lost ? undefined : promised.get(call);
  if (kept) {
    kept.then(setDefaultDevice, () => {}); // who gets it hears of its failure
    return kept;
  }
  // Handled here and thrown again: what nobody waits for must not fail in silence.
  const promise = startFirst(names, options).catch((error: unknown) => {
    if (promised.get(call) === promise) promised.delete(call);
    throw error;
  });
  promised.set(call, promise);
  return promise;
}

async function startFirst(names: readonly DeviceName[], options: InitOptions): Promise<DeviceName> {
  checkOptions("init", options, { debug: flag, threads: wholeNumber, relaxedSimd: flag, revectorize: flag });
  const reasons: string[] = [];
  for (const name of names) {
    try {
      await start(name, options);
      chosen = name;
      return name;
    } catch (error) {
      if (error instanceof ConfigError) throw error;
      const { message } = error as Error;
      reasons.push(message.startsWith(`${name}: `) ? message : `${name}: ${message}`);
    }
  }
  throw new DeviceError(`init: no device started (${reasons.join("; ") || "none was named"})`);
}

/** Options as a string: in order, without those left open. */
const written = (options: InitOptions): string =>
  JSON.stringify(
    Object.entries(options)
      .filter(([, value]) => value !== undefined)
      .toSorted(([a], [b]) => (a < b ? -1 : 1)),
  );

function start(name: DeviceName, options: InitOptions): Promise<Backend> {
  checkDevice("init", name);
  const wanted = written(options);
  const running = started.get(name);
  const broken = live.get(name)?.failure ? live.get(name) : undefined;
  if (running && !broken) {
    if (running.options === wanted) return running.backend;
    throw new ConfigError(
      `init: ${name} already runs with options ${running.options}, asked for ${wanted}; call shutdown() first`,
    );
  }
  if (options.debug) setDebugLines(true);
  live.delete(name);
  const prepared = Promise.all([broken?.shutdown(), options.debug && honourSourceMaps()]);
  const backend = broken || options.debug ? prepared.then(() => starters[name](options)) : starters[name](options);
  started.set(name, { options: wanted, backend });
  backend.then(
    (ready) => void (started.get(name)?.backend === backend && live.set(name, ready)),
    () => void (started.get(name)?.backend === backend && started.delete(name)),
  );
  return backend;
}

/** The backend of a device, starting it with default options if nothing has. */
export async function backendOf(name: DeviceName): Promise<Backend> {
  return live.get(name) ?? started.get(name)?.backend ?? start(name, {});
}

/** The backends that have started. */
export const liveBackends = (): Backend[] => [...live.values()];

/** The device that new tensors live on unless they say otherwise. */
export const defaultDevice = (): DeviceName => chosen;

/** Changes the default device; it starts with its first work. */
export function setDefaultDevice(device: DeviceName): void {
  chosen = checkDevice("setDefaultDevice", device);
}

export interface DeviceInfo {
  readonly name: DeviceName;
  readonly isDefault: boolean;
  /** Why the device cannot be used here, if it cannot. */
  readonly reason?: string;
  readonly dtypes: readonly DType[];
  readonly details: Backend["details"];
}

/** Every device with what it offers here, or why it is unusable. One that was not running is started to ask and then ended. */
export async function devices(): Promise<DeviceInfo[]> {
  const list: DeviceInfo[] = [];
  for (const name of Object.keys(starters) as DeviceName[]) {
    const isDefault = name === chosen;
    const running = started.get(name)?.backend;
    try {
      const backend = await (running ?? starters[name]({})); // one that is only asked is nobody else's, and can be ended
      const { dtypes, details, failure } = backend;
      list.push({ name, isDefault, ...(failure && { reason: failure.message }), dtypes, details });
      if (!running) await backend.shutdown();
    } catch (error) {
      list.push({ name, isDefault, reason: (error as Error).message, dtypes: [], details: {} });
    }
  }
  return list;
}

export interface MemoryInfo {
  readonly liveTensors: number;
  readonly liveBytes: number;
  readonly peakBytes: number;
  readonly poolBytes: number;
}

/** What is alive on a device, in tensors and bytes. */
export function memory(device: DeviceName = chosen): MemoryInfo {
  const { liveTensors, liveBytes, peakBytes } = ledgerOf(checkDevice("memory", device));
  return { liveTensors, liveBytes, peakBytes, poolBytes: live.get(device)?.poolBytes() ?? 0 };
}

/** Ends every device once it has done what it was given: workers stop and memory goes. Tensors that lived there can no longer be read. */
export async function shutdown(): Promise<void> {
  const ending = [...started.values()];
  started.clear();
  live.clear();
  promised.clear();
  setDebugLines(false);
  for (const { backend } of ending)
    await backend.then(
      (b) => b.shutdown(),
      () => {},
    );
}
