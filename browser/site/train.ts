import { init, devices, type DeviceInfo, type DeviceName } from "@switchyard/tensor";
import { trained } from "./mixture.ts";

/** What the page offers to those who drive it. */
export interface TrainPage {
  /** Trains a small mixture. @returns the loss of each step, exact. */
  train(device: DeviceName | readonly DeviceName[]): Promise<Trained>;
  devices(): Promise<DeviceInfo[]>;
}

export interface Trained {
  readonly device: DeviceName;
  readonly losses: readonly number[];
}

declare global {
  var page: TrainPage;
}

globalThis.page = {
  train: async (device) => ({ device: await init(device), losses: await trained() }),
  devices,
};
