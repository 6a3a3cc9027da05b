import { ConfigError, DeviceError } from "../../errors.ts";
import type { InitOptions } from "../../runtime/devices.ts";
import type { Storage } from "../../runtime/storage.ts";
import { createScheduler, type Scheduled } from "../../schedule/schedule.ts";
import type { Plan } from "../../schedule/plan.ts";
import { deviceBytes } from "../../types.ts";
import type { Backend, RunRequest, RunResult } from "../backend.ts";
import { createExecutor, type Executor } from "./executor.ts";
import { detectFeatures, type Features } from "./features.ts";
import type { Block } from "./freeLists.ts";
import { lower } from "./lower.ts";
import { createHeap, type Heap } from "./memory.ts";
import { createModules, type Modules } from "./modules.ts";
import { compileProgram, type Program } from "./program.ts";
import { layout } from "./walker.ts";

const mostThreads = 16;

/** The first granule stays empty: no buffer is at address 0. The barrier follows. */
const barrierAddress = 64;
const reserved = barrierAddress + layout.barrierWords * 4;

/**
 * SIMD kernels emitted at run time, on worker threads over one shared memory. Without `SharedArrayBuffer` (a page that is not
 * cross-origin isolated) everything runs on the calling thread.
 *
 * @throws {DeviceError} where WebAssembly has no SIMD.
 * @throws {ConfigError} if `threads` is not an integer from 0 (the calling thread only) up.
 */
export async function wasmBackend(options: InitOptions): Promise<Backend> {
  if (options.revectorize) revectorize();
  const features = detectFeatures();
  if (!features.simd) throw new DeviceError("wasm: this engine has no WebAssembly SIMD; use the cpu device");
  const workers = features.threads ? threadCount(options.threads) : 0;
  const heap = createHeap({ shared: features.threads, reserved });
  const modules = createModules(heap.memory);
  const executor = createExecutor({ heap, modules, workers, barrier: barrierAddress / 4 });
  return createBackend(heap, modules, executor, features);
}

function threadCount(asked = Math.min(mostThreads, processors())): number {
  if (!Number.isInteger(asked) || asked < 0)
    throw new ConfigError(`init: threads must be an integer from 0 up, got ${asked}`);
  return asked;
}

const processors = (): number =>
  globalThis.navigator?.hardwareConcurrency ?? process.getBuiltinModule("node:os").availableParallelism();

/** V8 fuses adjacent 128-bit operations into 256-bit ones under this flag, in modules compiled after it is set. */
function revectorize(): void {
  if (typeof process === "undefined" || !process.versions?.node)
    throw new ConfigError("init: revectorize is an option of Node; a page cannot set it");
  process.getBuiltinModule("node:v8").setFlagsFromString("--experimental-wasm-revectorize");
}

function createBackend(heap: Heap, modules: Modules, executor: Executor, features: Features): Backend {
  const schedule = createScheduler();
  const programs = new WeakMap<Plan, Program>();
  /** Reads under way by allocation: nothing may be written over what they will copy. */
  const readers = new Map<Block, number>();

  function programOf(plan: Plan): Program {
    let program = programs.get(plan);
    if (!program) {
      const lowerHere: Parameters<typeof compileProgram>[1] = (kernel) => lower(kernel, plan, features);
      program = compileProgram(plan, lowerHere, modules.numberOf, executor.threads);
      programs.set(plan, program);
    }
    return program;
  }

  /** Memory for the roots and the arena. All or nothing. */
  function claim(plan: Plan, leaves: readonly Storage[], program: Program): Claim {
    const fresh: Block[] = [];
    const take = (bytes: number): Block => {
      const block = heap.allocate(bytes, "program");
      fresh.push(block);
      return block;
    };
    const leaf = (buffer: number): Block => {
      const { source } = plan.buffers[buffer];
      return leaves[source.kind === "leaf" ? source.index : -1].allocation as Block;
    };
    const roots: Block[] = [];
    try {
      const buffers = plan.buffers.map(({ source, size, dtype }, i) => {
        if (source.kind === "temporary") return 0;
        if (source.kind === "leaf") return leaf(i).address;
        const over = source.reuses === undefined ? undefined : leaf(source.reuses);
        const block = over && !readers.has(over) ? over : take(size * deviceBytes(dtype));
        roots[source.index] = block;
        return block.address;
      });
      const arena = program.arenaBytes > 0 ? take(program.arenaBytes) : undefined;
      return { roots, buffers, arena, fresh };
    } catch (error) {
      for (const block of fresh) executor.free(block);
      throw error;
    }
  }

  function run(request: RunRequest): RunResult {
    const { plan, leaves, numbers }: Scheduled = schedule(request);
    const program = programOf(plan);
    const { roots, buffers, arena, fresh } = claim(plan, leaves, program);
    let done: Promise<void>;
    try {
      done = executor.submit(program, { buffers, arena: arena?.address ?? 0, numbers });
    } catch (error) {
      for (const block of fresh) executor.free(block);
      throw error;
    }
    // Programs run in order, so the next one may have it at once.
    if (arena) executor.free(arena);
    return { allocations: roots, done };
  }

  return {
    dtypes: ["f32", "f64", "i32", "u32", "bool"],
    run,
    upload(data, dtype) {
      const block = heap.allocate(data.length * deviceBytes(dtype), "host");
      heap.write(block, data, dtype);
      return block;
    },
    async read(allocation, dtype, size) {
      const block = allocation as Block;
      readers.set(block, (readers.get(block) ?? 0) + 1);
      await executor.drained();
      const left = readers.get(block)! - 1;
      if (left > 0) readers.set(block, left);
      else readers.delete(block);
      return heap.read(block, dtype, size);
    },
    free: (allocation) => executor.free(allocation as Block),
    poolBytes: heap.freeBytes,
    shutdown: executor.shutdown,
  };
}

interface Claim {
  readonly roots: Block[];
  /** Addresses by buffer of the plan. */
  readonly buffers: number[];
  readonly arena: Block | undefined;
  /** What was allocated for this run. */
  readonly fresh: readonly Block[];
}
