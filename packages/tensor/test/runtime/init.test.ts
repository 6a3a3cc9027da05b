import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { afterEach, expect, test } from "vitest";
import { ConfigError, defaultDevice, devices, init, ones, setDefaultDevice, shutdown } from "../../src/index.ts";

afterEach(shutdown);

test("the same call again gives the same promise, and makes the device the default again", async () => {
  const first = init("cpu");
  expect(init("cpu")).toBe(first);
  expect(init("cpu", { debug: undefined })).toBe(first);
  expect(init(["cpu"], {})).toBe(first);
  expect(await first).toBe("cpu");
  setDefaultDevice("wasm");
  expect(init("cpu")).toBe(first);
  expect([await first, defaultDevice()]).toEqual(["cpu", "cpu"]);
});

test("other options are refused, and the promise of before stays", async () => {
  const first = init("cpu");
  await expect(init("cpu", { debug: true })).rejects.toThrow(ConfigError);
  expect(init("cpu")).toBe(first);
});

test("a call that failed is tried again, and so is one from before a shutdown", async () => {
  const failed = init("tpu" as "cpu");
  await expect(failed).rejects.toThrow('init: unknown device "tpu"');
  const again = init("tpu" as "cpu");
  expect(again).not.toBe(failed);
  await expect(again).rejects.toThrow(ConfigError);
  await expect(init(undefined as never)).rejects.toThrow(ConfigError);
  const first = init("cpu");
  await first;
  await shutdown();
  expect(init("cpu")).not.toBe(first);
});

test("a start that fails and that nobody waits for ends the program", async () => {
  const program = 'import { init } from "@switchyard/tensor"; void init("tpu");';
  const run = promisify(execFile)(process.execPath, ["--conditions=source", "--input-type=module", "-e", program]);
  await expect(run).rejects.toThrow('init: unknown device "tpu"');
});

test("options that are none reject, as others do", async () => {
  await init("cpu");
  await expect(init("cpu", null as never)).rejects.toThrow("init: takes an object of options, got null");
});

test("a device that starts while devices() asks about it goes on", async () => {
  const asked = devices();
  await init("wasm", { threads: 0 });
  const sum = ones([1000]).sum().item();
  expect((await asked).map(({ name }) => name)).toEqual(["cpu", "wasm", "webgpu"]);
  expect(await sum).toBe(1000);
  expect(await ones([10]).sum().item()).toBe(10);
});
