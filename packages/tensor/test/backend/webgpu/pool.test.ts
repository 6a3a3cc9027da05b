import fc from "fast-check";
import { expect, test } from "vitest";
import { capacityOf, Pool, type GpuAllocation } from "../../../src/backend/webgpu/pool.ts";

const mib = 2 ** 20;

/** A pool on a device that only counts. */
function counted() {
  const made: number[] = [];
  const destroyed: GPUBuffer[] = [];
  const device = {
    limits: { maxBufferSize: 2 ** 30, maxStorageBufferBindingSize: 2 ** 30 },
    pushErrorScope: () => {},
    popErrorScope: () => Promise.resolve(null),
    createBuffer: ({ size }: GPUBufferDescriptor) => (made.push(size), { size }),
  } as unknown as GPUDevice;
  return { pool: new Pool(device, (buffer) => destroyed.push(buffer)), made, destroyed };
}

test("capacities hold what is asked for, waste a quarter at most, and are multiples of four", () => {
  fc.assert(
    fc.property(fc.integer({ min: 257, max: 2 ** 31 }), (bytes) => {
      const capacity = capacityOf(bytes);
      expect(capacity).toBeGreaterThanOrEqual(bytes);
      expect(capacity).toBeLessThanOrEqual(1.25 * bytes);
      expect(capacity % 4).toBe(0);
    }),
  );
});

test("memory given back is handed out again to the same size, and to no other", () => {
  const { pool, made } = counted();
  const first = pool.take(1000);
  pool.give(first);
  expect(pool.take(2000).buffer).not.toBe(first.buffer);
  expect(pool.take(1001).buffer).toBe(first.buffer);
  expect(made.length).toBe(2);
});

test("what is kept for reuse is bounded by what is in use, and the oldest goes first", () => {
  const { pool, destroyed } = counted();
  const taken: GpuAllocation[] = Array.from({ length: 10 }, () => pool.take(64 * mib));
  for (const allocation of taken) pool.give(allocation);
  expect(pool.freeBytes).toBe(256 * mib);
  expect(destroyed).toEqual(taken.slice(0, 6).map(({ buffer }) => buffer));
});

test("after the device had no memory left, nothing is kept", () => {
  const { pool, destroyed } = counted();
  const taken = [pool.take(mib), pool.take(mib)];
  for (const allocation of taken) pool.give(allocation);
  pool.recover();
  expect([pool.freeBytes, destroyed.length]).toEqual([0, 2]);
});
