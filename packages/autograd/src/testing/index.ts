export * from "@switchyard/tensor/testing";
export { acrossDevices, type AcrossDevicesOptions } from "./acrossDevices.ts";
export { matchers, type Closeness, type TensorMatchers } from "./matchers.ts";
