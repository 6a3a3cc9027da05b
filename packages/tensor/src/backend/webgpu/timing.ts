import { mapForReading, usage } from "./gpu.ts";

/** Passes to a set of queries: the standard allows 4096 queries, and each pass writes two. */
const passes = 2048;

/** Times every pass of one submission by timestamp queries. */
export class Timing {
  readonly #count: number;
  readonly #sets: readonly GPUQuerySet[];
  readonly #resolved: GPUBuffer;
  readonly #staging: GPUBuffer;

  constructor(device: GPUDevice, count: number) {
    this.#count = count;
    this.#sets = Array.from({ length: Math.ceil(count / passes) }, () =>
      device.createQuerySet({ label: "profile", type: "timestamp", count: 2 * passes }),
    );
    const size = this.#sets.length * passes * 16;
    const resolve = usage.queryResolve | usage.copySource;
    this.#resolved = device.createBuffer({ label: "profile", size, usage: resolve });
    this.#staging = device.createBuffer({ label: "profile", size, usage: usage.mapRead | usage.copyTarget });
  }

  /** Where pass `i` writes when it begins and ends. */
  writes(i: number): GPUComputePassTimestampWrites {
    const at = (i % passes) * 2;
    const querySet = this.#sets[Math.floor(i / passes)];
    return { querySet, beginningOfPassWriteIndex: at, endOfPassWriteIndex: at + 1 };
  }

  /** Encodes the copy of the times to where they can be read. */
  finish(encoder: GPUCommandEncoder): void {
    this.#sets.forEach((set, i) => {
      const count = Math.min(this.#count - i * passes, passes) * 2;
      encoder.resolveQuerySet(set, 0, count, this.#resolved, i * passes * 16);
    });
    encoder.copyBufferToBuffer(this.#resolved, 0, this.#staging, 0, this.#staging.size);
  }

  /** The milliseconds of each pass, once it has run. */
  async read(): Promise<number[]> {
    await this.#staging.mapAsync(mapForReading);
    const times = new BigUint64Array(this.#staging.getMappedRange());
    const ms = Array.from(
      { length: this.#count },
      (_, i) => Math.max(Number(times[2 * i + 1] - times[2 * i]), 0) / 1e6,
    );
    for (const part of [...this.#sets, this.#resolved, this.#staging]) part.destroy();
    return ms;
  }
}
