import { DeviceError, init, type DeviceName } from "@switchyard/tensor";

/**
 * Starts the device of a command.
 *
 * @param revectorize asks `wasm` for 256-bit vectors. They are the engine's own experiment, so where it has none, or checks badly, the device starts without.
 * @returns whether it computes with them.
 */
export async function startDevice(device: DeviceName, revectorize = false): Promise<boolean> {
  if (!revectorize || device !== "wasm") {
    await init(device);
    return false;
  }
  try {
    await init(device, { revectorize });
    return true;
  } catch (error) {
    if (!(error instanceof DeviceError)) throw error;
    await init(device);
    return false;
  }
}
