import { afterAll, beforeAll, expect, test, vi } from "vitest";
import {
  ConfigError,
  DeviceError,
  devices,
  full,
  init,
  realize,
  scope,
  shutdown,
  tensor,
  type Tensor,
} from "../../../src/index.ts";
import { openedDevices } from "./openedDevices.ts";

let opened: readonly GPUDevice[];

beforeAll(async () => {
  opened = await openedDevices();
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
  await expect(realize(full([size], 1, { device: "webgpu" }).add(1))).rejects.toThrow(
    /^add: webgpu: needs a buffer of \d+ bytes, but this adapter's largest is \d+$/,
  );
  expect([...(await on(1, 2).add(1).data())]).toEqual([2, 3]);
});

test("elements that do not fit are refused with the name of what made them", async () => {
  const { details } = (await devices()).find(({ name }) => name === "webgpu")!;
  const size = Math.floor(Number(details.maxBindingSize) / 4) + 1000;
  const large = tensor(new Float32Array(size), { device: "webgpu" });
  await expect(large.sum().data()).rejects.toThrow(
    new RegExp(`^tensor f32\\[${size}\\]: webgpu: needs a buffer of \\d+ bytes, but this adapter's largest is \\d+$`),
  );
});

test("a tensor of a device that was shut down cannot be read, and the next init works", async () => {
  const x = await realize(on(1, 2).add(1));
  await shutdown();
  await init("webgpu");
  await expect(x.data()).rejects.toThrow(/shut down/);
  await expect(x.add(1).data()).rejects.toThrow(DeviceError);
  expect([...(await on(1, 2).add(1).data())]).toEqual([2, 3]);
});

test("when the device is lost, work under way and work to come fail with the op and the reason, and init starts another", async () => {
  const x = await realize(on(1, 2).add(1));
  const pending = x.mul(x).sin();
  const underWay = Promise.allSettled([realize(pending), x.data()]);
  opened[opened.length - 1].destroy();
  for (const outcome of await underWay) expect(outcome).toMatchObject({ reason: expect.any(DeviceError) });
  await expect(pending.data()).rejects.toThrow(/^sin: webgpu: the device was lost \(/);
  await expect(pending.add(1).data()).rejects.toThrow(/^sin: webgpu: the device was lost/);
  await expect(on(5).add(1).data()).rejects.toThrow(/^add: webgpu: the device was lost .*init\("webgpu"\) again/);
  expect((await devices()).find(({ name }) => name === "webgpu")!.reason).toMatch(/was lost/);
  await init("webgpu");
  await expect(x.data()).rejects.toThrow(/went when webgpu was shut down or lost/);
  expect([...(await on(1, 2).add(1).data())]).toEqual([2, 3]);
});

test("a lost device may start again with other options, and in debug an error has the user's line", async () => {
  await expect(init("webgpu", { debug: true })).rejects.toThrow(ConfigError);
  opened[opened.length - 1].destroy();
  await expect(on(1).add(1).data()).rejects.toThrow(/lost/);
  await init("webgpu", { debug: true });
  const pending = on(1, 2).exp().data();
  opened[opened.length - 1].destroy();
  await expect(pending).rejects.toThrow(/^exp at .*errors\.gpu\.ts:\d+:\d+: webgpu: the device was lost/);
  await shutdown();
  await init("webgpu");
});

/** Until it is restored, errors of a kind come from the device as from one that has them. */
function injected(kind: GPUErrorFilter, message: string): { restore(): void } {
  const device = opened[opened.length - 1];
  const filters: GPUErrorFilter[] = [];
  const push = vi.spyOn(device, "pushErrorScope").mockImplementation((filter) => void filters.push(filter));
  const pop = vi
    .spyOn(device, "popErrorScope")
    .mockImplementation(async () => (filters.pop() === kind ? ({ message } as GPUError) : null));
  return { restore: () => [push, pop].forEach((spy) => spy.mockRestore()) };
}

test("out of memory names the op and the largest owners, and the device goes on", async () => {
  const held = await realize(scope("model/embedding", () => full([1 << 18], 1, { device: "webgpu" }).add(1)));
  const fault = injected("out-of-memory", "no memory");
  await expect(realize(held.mul(2))).rejects.toThrow(
    /^mul: webgpu: out of memory\. Largest owners: add in model\/embedding: 1\.0 MiB/,
  );
  fault.restore();
  expect((await held.mul(2).data())[5]).toBe(4);
});

test("a fault of ours that the device finds names the op, and the device goes on", async () => {
  const fault = injected("validation", "binding 3 is wrong");
  await expect(realize(on(1, 2).tan())).rejects.toThrow(/^tan: webgpu: internal: binding 3 is wrong/);
  fault.restore();
  expect([...(await on(1, 2).add(1).data())]).toEqual([2, 3]);
});
