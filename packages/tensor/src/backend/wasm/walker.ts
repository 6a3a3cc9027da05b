/**
 * How threads run a program. `walk` and `serve` are handed to workers as text, so they name nothing but their parameters,
 * globals and their own locals, and hold no named inner function (bundlers wrap those in helpers of their own).
 */

/** `[begin, end)` of a launch's tiles; all addresses in bytes. */
export type RunTiles = (args: number, begin: number, end: number, scratch: number) => void;

/** Offsets in 32-bit words. The words that threads write are on cache lines of their own. */
export const layout = {
  /** The head of a program. */
  steps: 0,
  /** 1: the calling thread alone, without barriers. */
  threads: 1,
  /** Byte address of the tile counters, one word per step. */
  counters: 2,
  /** Whether each step is timed: then there is a barrier after every one. */
  timed: 3,
  /** 1 + the step whose kernel trapped, or 0. */
  failed: 16,
  messageLength: 17,
  message: 18,
  mostMessage: 62,
  /** The step records follow the head. */
  head: 80,
  /** A step record. */
  kernel: 0,
  args: 1,
  tiles: 2,
  /** How many tiles a thread claims at a time. */
  batch: 3,
  /** Whether all steps so far must be finished first. */
  barrier: 4,
  /** When all threads had finished the steps before, in microseconds that wrap around. */
  began: 5,
  /** Whether the first thread runs it alone: too little to share. */
  narrow: 6,
  record: 8,
  /** The barrier that all programs share. It outlives every program: threads may still be leaving the last one. */
  arrived: 0,
  generation: 16,
  sleepers: 17,
  barrierWords: 32,
} as const;

export type Layout = typeof layout;

/**
 * Walks a program in step with the other threads: claims tiles, runs them, meets the others at barriers. After a trap the rest of
 * the program is skipped by all.
 *
 * @param program the word index of the program's head.
 * @param barrier the word index of the shared barrier.
 * @param first whether this is the first thread, which runs the narrow steps.
 * @returns whether this thread was the last to finish.
 */
export function walk(
  words: Int32Array,
  program: number,
  barrier: number,
  kernels: readonly RunTiles[],
  scratch: number,
  first: boolean,
  at: Layout,
): boolean {
  const steps = words[program + at.steps];
  const threads = words[program + at.threads];
  const counters = words[program + at.counters] >>> 2;
  const alone = threads === 1;
  const timed = words[program + at.timed] !== 0;
  for (let step = 0; ; step++) {
    const record = program + at.head + step * at.record;
    if (timed && alone) words[record + at.began] = ((performance.timeOrigin + performance.now()) * 1000) % 2147483648;
    if (!alone && (timed || step === steps || words[record + at.barrier] !== 0)) {
      const generation = Atomics.load(words, barrier + at.generation);
      if (Atomics.add(words, barrier + at.arrived, 1) === threads - 1) {
        if (timed) words[record + at.began] = ((performance.timeOrigin + performance.now()) * 1000) % 2147483648;
        Atomics.store(words, barrier + at.arrived, 0);
        Atomics.store(words, barrier + at.generation, (generation + 1) | 0);
        if (Atomics.load(words, barrier + at.sleepers) > 0) Atomics.notify(words, barrier + at.generation);
        if (step === steps) return true;
      } else {
        // Spinning is fastest while every thread has a processor; sleeping soon keeps four threads on two from crawling.
        let spins = 2000;
        while (spins > 0 && Atomics.load(words, barrier + at.generation) === generation) spins--;
        if (spins === 0) {
          Atomics.add(words, barrier + at.sleepers, 1);
          while (Atomics.load(words, barrier + at.generation) === generation)
            Atomics.wait(words, barrier + at.generation, generation);
          Atomics.sub(words, barrier + at.sleepers, 1);
        }
      }
    }
    if (step === steps) return alone;
    const narrow = words[record + at.narrow] !== 0;
    if ((narrow && !first) || Atomics.load(words, program + at.failed) !== 0) continue;
    const run = kernels[words[record + at.kernel]];
    const args = words[record + at.args];
    const tiles = words[record + at.tiles];
    const batch = words[record + at.batch];
    try {
      if (alone || narrow) run(args, 0, tiles, scratch);
      else {
        for (;;) {
          const begin = Atomics.add(words, counters + step, batch);
          if (begin >= tiles) break;
          run(args, begin, begin + batch < tiles ? begin + batch : tiles, scratch);
        }
      }
    } catch (error) {
      if (Atomics.compareExchange(words, program + at.failed, 0, step + 1) !== 0) continue;
      const text = String(error);
      const length = text.length < at.mostMessage ? text.length : at.mostMessage;
      for (let i = 0; i < length; i++) words[program + at.message + i] = text.charCodeAt(i);
      words[program + at.messageLength] = length;
    }
  }
}

/** What a worker is told first. */
export interface Boot {
  readonly memory: WebAssembly.Memory;
  readonly barrier: number;
  readonly scratch: number;
  readonly first: boolean;
}

/** What a worker is told next: modules it does not know yet, by kernel number, and a program. It answers when it was the last to finish. */
export interface Errand {
  readonly modules: readonly (readonly [kernel: number, module: WebAssembly.Module])[];
  /** The word index of its head. */
  readonly program: number;
  /** How far the memory reaches. */
  readonly memoryBytes: number;
}

/** The body of a worker. */
export function serve(
  port: { onmessage: ((event: { data: Boot | Errand }) => void) | null; postMessage(program: number): void },
  step: typeof walk,
  math: Readonly<Record<string, WebAssembly.ImportValue>>,
  at: Layout,
): void {
  const kernels: RunTiles[] = [];
  let boot: Boot;
  port.onmessage = (event) => {
    const told = event.data;
    if ("memory" in told) {
      boot = told;
      return;
    }
    const { memory, barrier, scratch, first } = boot;
    for (const [kernel, module] of told.modules) {
      try {
        kernels[kernel] = new WebAssembly.Instance(module, { env: { memory }, math }).exports.run as RunTiles;
      } catch (error) {
        kernels[kernel] = () => {
          throw error;
        };
      }
    }
    // Another thread has grown the memory: growing by nothing makes this one notice.
    if (memory.buffer.byteLength < told.memoryBytes) memory.grow(0);
    const last = step(new Int32Array(memory.buffer), told.program, barrier, kernels, scratch, first, at);
    if (last) port.postMessage(told.program);
  };
}
