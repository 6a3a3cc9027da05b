import type { DeviceName, FloatDType } from "../types.ts";
import { defaultDevice, setDefaultDevice } from "./devices.ts";

let float: FloatDType = "f32";

/** The dtype of floats that do not say theirs: f32, but for the inside of a gradient check. */
export const defaultFloat = (): FloatDType => float;

export interface Defaults {
  readonly device: DeviceName;
  readonly float: FloatDType;
}

/** Runs a synchronous `fn` under another default device and float. */
export function withDefaults<T>(defaults: Defaults, fn: () => T): T {
  const before = { device: defaultDevice(), float };
  setDefaultDevice(defaults.device);
  float = defaults.float;
  try {
    return fn();
  } finally {
    setDefaultDevice(before.device);
    float = before.float;
  }
}
