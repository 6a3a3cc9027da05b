import { ConfigError, DeviceError } from "../../errors.ts";
import type { InitOptions } from "../../runtime/devices.ts";
import { createScheduler } from "../../schedule/schedule.ts";
import { deviceBytes } from "../../types.ts";
import type { Backend } from "../backend.ts";
import { createExecutor } from "./executor.ts";
import { detectFeatures, type Features } from "./features.ts";
import type { Block } from "./freeLists.ts";
import { createHeap } from "./memory.ts";
import { createModules } from "./modules.ts";
import { createPlanRunner, type PlanRunnerOptions } from "./planRunner.ts";
import { layout } from "./walker.ts";

const mostThreads = 16;

/** The first granule stays empty: no buffer is at address 0. The barrier follows. */
const barrierAddress = 64;
const reserved = barrierAddress + layout.barrierWords * 4;

/**
 * SIMD kernels emitted at run time, on worker threads over one shared memory. Without `SharedArrayBuffer` (a page that is not
 * cross-origin isolated) everything runs on the calling thread.
 *
 * @throws {DeviceError} where WebAssembly has no SIMD, lacks what the options ask for, or has wrong numbers under `revectorize`.
 * @throws {ConfigError} if `threads` is not an integer from 0 (the calling thread only) up.
 */
export async function wasmBackend(options: InitOptions): Promise<Backend> {
  if (options.revectorize) {
    // Of Node alone: no page should load it.
    const { revectorize } = await import("./revectorize.ts");
    await revectorize((features) => createParts(features, 0));
  }
  const features = detectFeatures(options);
  if (!features.simd) throw new DeviceError("wasm: this engine has no WebAssembly SIMD; use the cpu device");
  const workers = features.threads ? threadCount(options.threads) : 0;
  return createBackend(createParts(features, workers));
}

/** An empty memory and who computes in it. @param workers 0: everything runs on the calling thread. */
export function createParts(features: Features, workers: number): PlanRunnerOptions {
  const heap = createHeap({ shared: features.threads, reserved });
  const modules = createModules(heap.memory);
  const executor = createExecutor({ heap, modules, workers, barrier: barrierAddress / 4 });
  return { heap, modules, executor, features };
}

function threadCount(asked = Math.min(mostThreads, processors())): number {
  if (!Number.isInteger(asked) || asked < 0)
    throw new ConfigError(`init: threads must be an integer from 0 up, got ${asked}`);
  return asked;
}

const processors = (): number =>
  globalThis.navigator?.hardwareConcurrency ?? process.getBuiltinModule("node:os").availableParallelism();

function createBackend(parts: PlanRunnerOptions): Backend {
  const { heap, executor, features } = parts;
  const schedule = createScheduler();
  const runner = createPlanRunner(parts);

  return {
    dtypes: ["f32", "f64", "i32", "u32", "bool"],
    details: { threads: executor.threads, relaxedSimd: features.relaxedMadd, revectorized: features.wide },
    run(request) {
      const { plan, leaves, numbers } = schedule(request);
      const blocks = leaves.map((leaf) => leaf.allocation as Block);
      const { roots, done } = runner.run({ plan, leaves: blocks, numbers });
      return { allocations: roots, done };
    },
    upload(data, dtype) {
      const block = heap.allocate(data.length * deviceBytes(dtype), "host");
      heap.write(block, data, dtype);
      return block;
    },
    read: async (allocation, dtype, size) => heap.read(allocation as Block, dtype, size),
    free: (allocation) => executor.free(allocation as Block),
    onKernel(listener) {
      executor.onTimes =
        listener &&
        ((program, times) =>
          times.forEach((us, i) => listener({ name: program.names[i], ms: us / 1000, ...program.costs[i] })));
    },
    poolBytes: heap.freeBytes,
    shutdown: executor.shutdown,
  };
}
