import { afterEach, expect, test, vi } from "vitest";
import { DeviceError, init } from "../../../src/index.ts";

afterEach(() => vi.unstubAllGlobals());

test("a software adapter that has to be asked for by name does not stand in for a GPU", async () => {
  const requestAdapter = async ({ forceFallbackAdapter }: GPURequestAdapterOptions) =>
    forceFallbackAdapter ? ({ info: {}, limits: {}, features: new Set() } as unknown as GPUAdapter) : null;
  vi.stubGlobal("navigator", { gpu: { requestAdapter } });
  await expect(init("webgpu")).rejects.toThrow(DeviceError);
  await expect(init("webgpu")).rejects.toThrow(/webgpu: no adapter/);
});
