import { scratchBytes } from "./launch.ts";
import type { Heap } from "./memory.ts";
import { layout } from "./walker.ts";
import { startWorker, type WorkerThread } from "./workers.ts";

/** Workers that walk programs together. */
export interface Threads {
  /** Hands all workers a program; they start with the first. Programs run in order. @param program the word index of its head. */
  readonly post: (program: number) => void;
  /** Whether a program is posted and not finished: then the process waits for the workers. */
  readonly hold: (held: boolean) => void;
  readonly terminate: () => Promise<void>;
}

export interface ThreadsOptions {
  readonly heap: Heap;
  readonly count: number;
  /** The word index of the barrier. */
  readonly barrier: number;
  /** All modules by kernel number; it only ever grows. */
  readonly modules: readonly WebAssembly.Module[];
  readonly finished: (program: number) => void;
  /** The workers are gone, with whatever was posted; the next post starts new ones. */
  readonly lost: (reason: Error) => void;
}

export function createThreads(options: ThreadsOptions): Threads {
  const { heap, count, barrier, modules } = options;
  const scratch = Array.from({ length: count }, () => heap.allocate(scratchBytes, "host").address);
  let workers: WorkerThread[] = [];
  let known = 0;
  let losing = false;

  function start(): void {
    const mine: WorkerThread[] = [];
    workers = mine;
    const events = {
      finished: options.finished,
      lost: (reason: Error): void => void (workers === mine && loseAll(reason)),
    };
    for (let i = 0; i < count; i++) {
      mine.push(startWorker(`switchyard ${i + 1}`, events));
      mine[i].postMessage({ memory: heap.memory, barrier, scratch: scratch[i], first: i === 0 });
    }
    known = 0;
  }

  /** One worker's end leaves the others waiting at a barrier, so all go. */
  function loseAll(reason: Error): void {
    losing = true;
    void terminate().then(() => {
      losing = false;
      heap.views().i32.fill(0, barrier, barrier + layout.barrierWords);
      options.lost(reason);
    });
  }

  async function terminate(): Promise<void> {
    const ending = workers;
    workers = [];
    await Promise.all(ending.map((worker) => worker.terminate()));
  }

  return {
    terminate,
    post(program) {
      // What is posted now is lost with the rest.
      if (losing) return;
      if (workers.length === 0) start();
      const fresh = modules.slice(known).map((module, i) => [known + i, module] as const);
      known = modules.length;
      const errand = { modules: fresh, program, memoryBytes: heap.memory.buffer.byteLength };
      for (const worker of workers) worker.postMessage(errand);
    },
    hold: (held) => {
      for (const worker of workers) worker.hold(held);
    },
  };
}
