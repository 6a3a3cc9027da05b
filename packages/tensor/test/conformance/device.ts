import { devices, init, type DeviceName, type InitOptions } from "../../src/index.ts";

/** The devices under test, named in the environment. */
export const testedDevices: readonly DeviceName[] = (process.env.SWITCHYARD_DEVICES?.split(",") as
  | DeviceName[]
  | undefined) ?? ["wasm"];

/** How `wasm` is to run, as JSON in the environment: `{"threads":4,"relaxedSimd":false}`. */
const wasmOptions = JSON.parse(process.env.SWITCHYARD_WASM ?? "{}") as InitOptions;

export async function startDevice(device: DeviceName): Promise<void> {
  if (device !== "wasm") return void (await init(device));
  await init("wasm", wasmOptions);
}

/** What a device must say of itself, given its options. */
export function ranAsAsked(device: DeviceName): Readonly<Record<string, string | number | boolean>> {
  if (device !== "wasm") return {};
  const { threads, relaxedSimd, revectorize = false } = wasmOptions;
  return {
    ...(threads !== undefined && { threads: Math.max(1, threads) }),
    ...(relaxedSimd !== undefined && { relaxedSimd }),
    revectorized: revectorize,
  };
}

export const describeDevice = async (device: DeviceName) =>
  (await devices()).find(({ name }) => name === device)?.details;
