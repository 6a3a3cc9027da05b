import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Backend } from "../../src/backend/backend.ts";
import {
  DeviceError,
  DisposedError,
  full,
  init,
  memory,
  ones,
  profile,
  realize,
  shutdown,
  tensor,
  type Tensor,
} from "../../src/index.ts";
import { backendOf } from "../../src/runtime/devices.ts";

const unhandled = vi.fn<(reason: unknown) => void>();
beforeEach(async () => {
  await init("wasm", { threads: 1 });
  process.on("unhandledRejection", unhandled);
});
afterEach(async () => {
  vi.restoreAllMocks();
  await shutdown();
  process.off("unhandledRejection", unhandled);
  expect(unhandled).not.toHaveBeenCalled();
});

/** More than WebAssembly can address, though each half could be. */
function tooMuch(): Tensor[] {
  const half = tensor([1, 2])
    .sum()
    .expandDims(0)
    .broadcastTo([3 << 28]);
  return [half.add(1), half.add(2)];
}

/** The next runs of a device fail, as many as there are errors. */
async function failing(...errors: readonly Error[]): Promise<void> {
  const backend: Backend = await backendOf("wasm");
  const run = vi.spyOn(backend, "run");
  for (const error of errors)
    run.mockImplementationOnce(() => {
      throw error;
    });
}

describe("a request that fails", () => {
  test("takes no other request of its turn with it", async () => {
    const x = tensor([1, 2]);
    const [first, bad, last] = [x.add(1).data(), realize(tooMuch()), x.add(2).data()];
    await expect(bad).rejects.toThrow(/^wasm: out of memory/);
    expect([[...(await first)], [...(await last)]]).toEqual([
      [2, 3],
      [3, 4],
    ]);
  });

  test("holds no bytes, even while its handles live", async () => {
    const before = memory().liveBytes;
    const results = tooMuch();
    const [x] = results;
    await expect(realize(results)).rejects.toThrow(DeviceError);
    expect(memory().liveBytes - before).toBeLessThan(100);
    await expect(x.add(1).data()).rejects.toThrow(/^wasm: out of memory/);
    for (const t of results) t.dispose();
    expect(memory().liveBytes - before).toBeLessThan(100);
  });

  test("is tried again when the device is idle and what died has been collected", async () => {
    await failing(new DeviceError("full"));
    expect(await tensor([1, 2]).add(1).toArray()).toEqual([2, 3]);
  });

  test("may be read again another time", async () => {
    await failing(new DeviceError("full"), new DeviceError("still full"));
    const x = tensor([1, 2]).add(1);
    await expect(x.data()).rejects.toThrow("still full");
    expect(await x.toArray()).toEqual([2, 3]);
  });

  test("fails what was built on its results in flight, with the same error", async () => {
    await failing(new Error("a fault"));
    const x = tensor([1, 2]).add(1);
    const done = realize(x);
    const y = x.mul(2).data();
    await expect(done).rejects.toThrow("a fault");
    await expect(y).rejects.toThrow("a fault");
    await expect(realize(x)).rejects.toThrow("a fault");
  });

  test("that nobody awaits ends no process", async () => {
    await failing(new Error("a fault"));
    void realize(tensor([1, 2]).add(1)).catch(() => {});
    await realize(tensor([1, 2]).add(2));
  });

  test("before it starts spends nothing, on whatever device", async () => {
    const kept = await realize(tensor([1, 2], { device: "cpu" }).add(1));
    const gone = await realize(tensor([1, 2]).add(1));
    const late = gone.mul(2);
    gone.dispose();
    await expect(realize([kept.mul(3), late], { donate: kept })).rejects.toThrow(DisposedError);
    expect(await kept.toArray()).toEqual([2, 3]);
  });
});

test("a shape of negative extents is refused, even when its product is the number of elements", () => {
  expect(() => tensor([1, 2, 3, 4], { shape: [-2, -2] })).toThrow(/extents are non-negative integers/);
});

test("a profile covers the default device from its very first work", async () => {
  await shutdown();
  const { kernels } = await profile(() => tensor([1, 2]).add(1).data());
  expect(kernels.map(({ name, calls }) => [name, calls])).toEqual([["add", 1]]);
});

describe("shutdown", () => {
  test("ends debug: what is made later remembers no lines", async () => {
    await shutdown();
    await init("cpu", { debug: true });
    expect(ones([1]).node.provenance.line).toMatch(/failures\.test\.ts/);
    await shutdown();
    expect(ones([1]).node.provenance.line).toBeUndefined();
  });

  test("lets work under way finish", async () => {
    let x: Tensor = ones([300, 300]);
    for (let i = 0; i < 10; i++) x = x.matmul(ones([300, 300])).mul(1 / 300);
    const done = realize(x);
    await new Promise((resolve) => setTimeout(resolve, 5));
    await shutdown();
    await done;
  });

  test("leaves tensors whose elements have gone with it, and says so", async () => {
    const x = await realize(tensor([1, 2]).add(1));
    await shutdown();
    await realize(full([2], 7).mul(1));
    await expect(x.data()).rejects.toThrow(DeviceError);
    await expect(x.mul(2).data()).rejects.toThrow(/^f32\[2\] made by add went when wasm was shut down/);
  });
});
