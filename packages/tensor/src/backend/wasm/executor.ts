import { DeviceError } from "../../errors.ts";
import type { Block } from "./freeLists.ts";
import type { Heap } from "./memory.ts";
import type { Modules } from "./modules.ts";
import { stepTimes, writeRun, type Bindings, type Program } from "./program.ts";
import { scratchBytes } from "./launch.ts";
import { createThreads, type Threads } from "./threads.ts";
import { layout, walk } from "./walker.ts";

/** Below this many nanoseconds of work, waking workers costs more than it gains. */
const tiny = 100_000;

/** Runs programs in order: on the workers, or at once on the calling thread when that is quicker or there are none. */
export interface Executor {
  /** How many threads will share a program's tiles. */
  readonly threads: number;
  /** Settles when the program is done. @throws {DeviceError} if there is no room for it. */
  readonly submit: (program: Program, bindings: Binding) => Promise<void>;
  /** Told the times of every step from now on, until it is undefined again. */
  onTimes: ((program: Program, microseconds: readonly number[]) => void) | undefined;
  /** Gives memory back; what is in flight may still use it. */
  readonly free: (block: Block) => void;
  /** Ends the workers when everything submitted so far is done, well or badly. */
  readonly shutdown: () => Promise<void>;
}

export interface ExecutorOptions {
  readonly heap: Heap;
  readonly modules: Modules;
  /** How many workers; 0: everything runs on the calling thread. */
  readonly workers: number;
  /** The word index of the barrier, in memory that stays. */
  readonly barrier: number;
}

/** What the caller of a program knows; the executor adds who walks it. */
export type Binding = Omit<Bindings, "threads" | "timed">;

interface Flight {
  readonly program: Program;
  readonly block: Block;
  readonly settle: (failure: Error | undefined) => void;
  readonly done: Promise<void>;
}

export function createExecutor({ heap, modules, workers, barrier }: ExecutorOptions): Executor {
  const flights: Flight[] = [];
  let posted = 0;
  let threads: Threads | undefined;
  let scratch: number | undefined;

  function submit(program: Program, bindings: Binding): Promise<void> {
    const block = heap.allocate(program.template.byteLength, "host");
    if (workers === 0 || (flights.length === 0 && program.work < tiny)) return runHere(program, block, bindings);
    writeRun(
      program,
      block.address,
      { ...bindings, threads: workers, timed: self.onTimes !== undefined },
      heap.views(),
    );
    threads ??= createThreads({ heap, count: workers, barrier, modules: modules.compiled, finished, lost });
    const flight = newFlight(program, block);
    flights.push(flight);
    posted++;
    threads.post(block.address / 4);
    if (flights.length === 1) threads.hold(true);
    return flight.done;
  }

  async function runHere(program: Program, block: Block, bindings: Binding): Promise<void> {
    const kernels = modules.instances(program.modules);
    scratch ??= heap.allocate(scratchBytes, "host").address;
    writeRun(program, block.address, { ...bindings, threads: 1, timed: self.onTimes !== undefined }, heap.views());
    const { i32 } = heap.views();
    walk(i32, block.address / 4, barrier, kernels, scratch, true, layout);
    const failure = failureOf(program, block, i32);
    report(program, block);
    heap.free(block, 0);
    if (failure) throw failure;
  }

  function finished(): void {
    const flight = flights.shift()!;
    const failure = failureOf(flight.program, flight.block, heap.views().i32);
    land(flight, failure);
  }

  function lost(reason: Error): void {
    const error = new DeviceError(`wasm: a worker ended before its work was done: ${reason.message}`);
    for (const flight of flights.splice(0)) land(flight, error);
  }

  function report(program: Program, block: Block): void {
    const { i32 } = heap.views();
    if (i32[block.address / 4 + layout.timed] !== 0) self.onTimes?.(program, stepTimes(program, block.address, i32));
  }

  function land(flight: Flight, failure: Error | undefined): void {
    report(flight.program, flight.block);
    heap.free(flight.block, 0);
    heap.settle(posted - flights.length);
    if (flights.length === 0) threads!.hold(false);
    flight.settle(failure);
  }

  const self: Executor = {
    threads: Math.max(1, workers),
    submit,
    onTimes: undefined,
    free: (block) => heap.free(block, posted),
    async shutdown() {
      await flights.at(-1)?.done.catch(() => {});
      await threads?.terminate();
    },
  };
  return self;
}

function newFlight(program: Program, block: Block): Flight {
  let settle!: Flight["settle"];
  const done = new Promise<void>((resolve, reject) => {
    settle = (failure) => (failure ? reject(failure) : resolve());
  });
  return { program, block, settle, done };
}

/** What a thread left in the program's head if a kernel trapped. */
function failureOf(program: Program, block: Block, words: Int32Array): DeviceError | undefined {
  const head = block.address / 4;
  const failed = words[head + layout.failed];
  if (failed === 0) return undefined;
  const text = words.slice(head + layout.message, head + layout.message + words[head + layout.messageLength]);
  return new DeviceError(`wasm: kernel "${program.names[failed - 1]}" trapped: ${String.fromCharCode(...text)}`);
}
