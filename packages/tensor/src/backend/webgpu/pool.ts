import { DeviceError, internal } from "../../errors.ts";
import type { Allocation } from "../backend.ts";
import { usage } from "./gpu.ts";

export interface GpuAllocation extends Allocation {
  readonly buffer: GPUBuffer;
  /** The size the pool knows it by: `bytes` rounded up. */
  readonly capacity: number;
  /** Where it came from: memory of a device that has ended is of no use to another. */
  readonly pool: Pool;
}

/** Below this much, freed memory is always kept. */
const keptBytes = 256 * 2 ** 20;

/** Four sizes to the doubling: at most a quarter is wasted, and steps of training find what the last one freed. */
export function capacityOf(bytes: number): number {
  if (bytes <= 256) return 256;
  const step = 2 ** (Math.ceil(Math.log2(bytes)) - 3);
  return Math.ceil(bytes / step) * step;
}

/**
 * Storage buffers, kept for reuse when freed. Reuse needs no waiting: the queue runs work in order, so what reads the old
 * elements comes before what writes the new ones.
 */
export class Pool {
  readonly #device: GPUDevice;
  readonly #destroy: (buffer: GPUBuffer) => void;
  /** By capacity, the one freed last at the end; and all of them, oldest first. */
  readonly #free = new Map<number, GPUBuffer[]>();
  readonly #ages = new Map<GPUBuffer, number>();
  #freeBytes = 0;
  #usedBytes = 0;
  #made = 0;
  readonly #invalid = new WeakSet<GPUBuffer>();
  #exhausted: GPUError | undefined;

  /** @param destroy gives a buffer back to the system once work asked for earlier is done with it. */
  constructor(device: GPUDevice, destroy: (buffer: GPUBuffer) => void) {
    this.#device = device;
    this.#destroy = destroy;
  }

  get freeBytes(): number {
    return this.#freeBytes;
  }

  /** @throws {DeviceError} if the device has no buffers of this size. */
  take(bytes: number): GpuAllocation {
    const { limits } = this.#device;
    const most = Math.min(limits.maxStorageBufferBindingSize, limits.maxBufferSize);
    if (bytes > most) {
      throw new DeviceError(`webgpu: needs a buffer of ${bytes} bytes, but this adapter's largest is ${most}`);
    }
    const capacity = Math.min(capacityOf(bytes), most - (most % 4));
    this.#usedBytes += capacity;
    const list = this.#free.get(capacity);
    const found = list?.pop();
    if (found) {
      this.#ages.delete(found);
      this.#freeBytes -= capacity;
      return { bytes, capacity, buffer: found, pool: this };
    }
    return { bytes, capacity, buffer: this.#make(capacity), pool: this };
  }

  #make(size: number): GPUBuffer {
    this.#device.pushErrorScope("out-of-memory");
    const buffer = this.#device.createBuffer({
      label: `switchyard ${++this.#made}`,
      size,
      usage: usage.storage | usage.uniform | usage.copySource | usage.copyTarget,
    });
    this.#device.popErrorScope().then(
      (error) => {
        if (!error) return;
        this.#exhausted = error;
        this.#invalid.add(buffer);
      },
      () => {},
    );
    return buffer;
  }

  /** What the device said when it had no memory for a buffer. */
  get exhausted(): GPUError | undefined {
    return this.#exhausted;
  }

  /** Gives all freed memory back to the system, after the device had none left. */
  recover(): void {
    this.#exhausted = undefined;
    for (const [buffer, capacity] of this.#ages) this.#drop(buffer, capacity);
  }

  give({ buffer, capacity }: GpuAllocation): void {
    this.#usedBytes -= capacity;
    if (this.#invalid.has(buffer)) return this.#destroy(buffer);
    this.#freeBytes += capacity;
    const list = this.#free.get(capacity);
    if (list) list.push(buffer);
    else this.#free.set(capacity, [buffer]);
    this.#ages.set(buffer, capacity);
    const most = Math.max(keptBytes, this.#usedBytes);
    for (const [oldest, size] of this.#ages) {
      if (this.#freeBytes <= most) break;
      this.#drop(oldest, size);
    }
  }

  /** @throws {DeviceError} of memory of an earlier device. */
  own(allocation: Allocation | undefined): GpuAllocation {
    const found = allocation as GpuAllocation | undefined;
    if (!found) throw internal("a leaf reached the device without its elements");
    if (found.pool !== this) throw new DeviceError("webgpu: a tensor was on a device that has been shut down or lost");
    return found;
  }

  #drop(buffer: GPUBuffer, capacity: number): void {
    const list = this.#free.get(capacity)!;
    list.splice(list.indexOf(buffer), 1);
    this.#ages.delete(buffer);
    this.#freeBytes -= capacity;
    this.#destroy(buffer);
  }
}
