import { afterAll, beforeAll, expect, test } from "vitest";
import { DeviceError, devices, full, init, realize, shutdown, tensor, type Tensor } from "../../../src/index.ts";

/** The devices that the backend opens, caught on their way so that a test can lose one. */
const opened: GPUDevice[] = [];

beforeAll(async () => {
  const { globals } = (await import("webgpu")) as unknown as { globals: { GPUAdapter: { prototype: GPUAdapter } } };
  const { prototype } = globals.GPUAdapter;
  // oxlint-disable-next-line typescript/unbound-method -- called on the adapter below
  const original = prototype.requestDevice;
  prototype.requestDevice = async function (this: GPUAdapter, descriptor?: GPUDeviceDescriptor) {
    const device = await original.call(this, descriptor);
    opened.push(device);
    return device;
  };
  await init("webgpu");
});

afterAll(() => shutdown());

const on = (...values: number[]): Tensor => tensor(values, { device: "webgpu" });

test("f64 is refused where the node is made, with the remedy", () => {
  expect(() => tensor([1, 2], { dtype: "f64", device: "webgpu" })).toThrow(/webgpu has no f64 .*cast to f32/);
  expect(() => on(1).cast("f64")).toThrow(DeviceError);
});

test("a tensor larger than the adapter's largest buffer is refused with both sizes", async () => {
  const { details } = (await devices()).find(({ name }) => name === "webgpu")!;
  const size = Math.floor(Number(details.maxBufferSize) / 4) + 1000;
  await expect(realize(full([size], 1, { device: "webgpu" }))).rejects.toThrow(
    /needs a buffer of \d+ bytes, .*largest is \d+/,
  );
  expect([...(await on(1, 2).add(1).data())]).toEqual([2, 3]);
});

test("a tensor of a device that was shut down cannot be read, and the next init works", async () => {
  const x = await realize(on(1, 2).add(1));
  await shutdown();
  await init("webgpu");
  await expect(x.data()).rejects.toThrow(/shut down/);
  await expect(x.add(1).data()).rejects.toThrow(DeviceError);
  expect([...(await on(1, 2).add(1).data())]).toEqual([2, 3]);
});

test("when the device is lost, work under way and work to come fail with the reason, and the next init works", async () => {
  const x = await realize(on(1, 2).add(1));
  const pending = x.mul(x).sin().data();
  opened[opened.length - 1].destroy();
  await expect(pending).rejects.toThrow(DeviceError);
  await expect(on(5).add(1).data()).rejects.toThrow(/lost .*init\("webgpu"\) again/);
  await shutdown();
  await init("webgpu");
  expect([...(await on(1, 2).add(1).data())]).toEqual([2, 3]);
});
