/** The devices that are opened from now on, newest last, caught on their way so that a test can watch or lose one. */
export async function openedDevices(): Promise<readonly GPUDevice[]> {
  const { globals } = (await import("webgpu")) as unknown as { globals: { GPUAdapter: { prototype: GPUAdapter } } };
  const { prototype } = globals.GPUAdapter;
  const opened: GPUDevice[] = [];
  // oxlint-disable-next-line typescript/unbound-method -- called on the adapter below
  const original = prototype.requestDevice;
  prototype.requestDevice = async function (this: GPUAdapter, descriptor?: GPUDeviceDescriptor) {
    const device = await original.call(this, descriptor);
    opened.push(device);
    return device;
  };
  return opened;
}
