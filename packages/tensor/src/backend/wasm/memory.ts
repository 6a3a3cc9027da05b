import { DeviceError } from "../../errors.ts";
import { largestOwners } from "../../runtime/memory.ts";
import { wasmDType } from "./dtypes.ts";
import { deviceBytes, hostArray, type DType, type TypedArray } from "../../types.ts";
import { createAllocator, type Allocator, type Writer } from "./allocator.ts";
import { granule, type Block } from "./freeLists.ts";

const page = 65536;
const mostPages = 65536;
/** The least growth: a page at a time would ask the engine for memory too often. */
const growth = 16 * 2 ** 20;

/** The memory seen in each way that elements are stored. */
export interface Views {
  readonly f32: Float32Array;
  readonly f64: Float64Array;
  readonly i32: Int32Array;
  readonly u32: Uint32Array;
  /** Stored in 32 bits, like everywhere on devices. */
  readonly bool: Int32Array;
}

/** The one linear memory that every module and thread shares, its allocator, and copies in and out. */
export interface Heap extends Pick<Allocator, "free" | "settle" | "freeBytes"> {
  readonly memory: WebAssembly.Memory;
  /** @throws {DeviceError} if the memory is full. */
  readonly allocate: (bytes: number, writer: Writer) => Block;
  /** Never kept across a call that may allocate: growing replaces them. */
  readonly views: () => Views;
  readonly write: (block: Block, data: TypedArray, dtype: DType) => void;
  /** A copy: host arrays must not live in shared memory. */
  readonly read: (block: Block, dtype: DType, size: number) => TypedArray;
}

/**
 * @param shared whether threads will share the memory.
 * @param reserved bytes at address 0 that the allocator leaves alone.
 */
export function createHeap({ shared, reserved }: { shared: boolean; reserved: number }): Heap {
  const { memory, maximum } = createMemory(shared);
  let pages = 0;
  let current: Views | undefined;

  /** Growing by less than a page's worth still takes whole pages. */
  function grow(bytes: number): number | undefined {
    const least = Math.ceil(bytes / page);
    const wanted = Math.max(least, growth / page, Math.ceil(pages / 8));
    for (const more of [Math.min(wanted, maximum - pages), least]) {
      if (pages + more > maximum || more < least) continue;
      try {
        memory.grow(more);
      } catch {
        continue;
      }
      pages += more;
      return pages * page;
    }
    return undefined;
  }

  const start = Math.ceil(reserved / granule) * granule;
  grow(start);
  const allocator = createAllocator(start, grow);

  function views(): Views {
    const { buffer } = memory;
    if (current?.i32.buffer !== buffer) current = viewsOf(buffer);
    return current;
  }

  function allocate(bytes: number, writer: Writer): Block {
    const block = allocator.allocate(bytes, writer);
    if (block) return block;
    const used = pages * page - allocator.freeBytes();
    throw new DeviceError(
      `wasm: out of memory: ${mebibytes(bytes)} more do not fit beside the ${mebibytes(used)} in use, ` +
        `of ${mebibytes(maximum * page)} that WebAssembly can address; dispose or donate what is not needed. ` +
        `Largest owners: ${largestOwners("wasm") || "none"}`,
    );
  }

  return {
    memory,
    allocate,
    views,
    free: allocator.free,
    settle: allocator.settle,
    freeBytes: allocator.freeBytes,
    write: (block, data, dtype) => views()[wasmDType(dtype)].set(data, block.address / deviceBytes(dtype)),
    read(block, dtype, size) {
      const from = block.address / deviceBytes(dtype);
      const copy = hostArray(dtype, size);
      copy.set(views()[wasmDType(dtype)].subarray(from, from + size));
      return copy;
    },
  };
}

/** A shared memory must name its limit, and an engine may refuse to reserve so much. */
function createMemory(shared: boolean): { memory: WebAssembly.Memory; maximum: number } {
  if (!shared) return { memory: new WebAssembly.Memory({ initial: 0 }), maximum: mostPages };
  for (let maximum = mostPages; ; maximum /= 2) {
    try {
      return { memory: new WebAssembly.Memory({ initial: 0, maximum, shared }), maximum };
    } catch (error) {
      if (maximum <= 1024) throw new DeviceError(`wasm: no shared memory: ${(error as Error).message}`);
    }
  }
}

const viewsOf = (buffer: ArrayBufferLike): Views => ({
  f32: new Float32Array(buffer),
  f64: new Float64Array(buffer),
  i32: new Int32Array(buffer),
  u32: new Uint32Array(buffer),
  bool: new Int32Array(buffer),
});

const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
