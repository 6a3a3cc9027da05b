import { internal } from "../../errors.ts";
import { readsOf, storesOf } from "../../schedule/access.ts";
import type { Kernel, Plan } from "../../schedule/plan.ts";
import { deviceBytes, type DType } from "../../types.ts";
import { wasmDType, type WasmDType } from "./dtypes.ts";
import { costOf, type Cost } from "../../schedule/cost.ts";
import { createBarriers, workOf, type Place } from "./barriers.ts";
import { planArena } from "./arena.ts";
import type { Launch, Lowered, Word } from "./launch.ts";
import type { Views } from "./memory.ts";
import { layout } from "./walker.ts";

/**
 * A plan as 32-bit words: the head, the step records, a tile counter per step, the argument blocks. What changes from run to run is
 * patched into a copy: addresses, each a base (a buffer, the arena, the program itself) plus an offset, and numbers.
 */
export interface Program {
  readonly template: Int32Array;
  readonly patches: Patches;
  /** Where each slot's number goes. */
  readonly numbers: readonly { readonly dtype: DType; readonly words: readonly number[] }[];
  readonly arenaBytes: number;
  /** The module of each step, and the kernel of the plan it belongs to. */
  readonly modules: readonly number[];
  readonly names: readonly string[];
  /** What each step's kernel computes and moves; a kernel of several steps counts with its last. */
  readonly costs: readonly Cost[];
  /** About how many nanoseconds one thread needs. */
  readonly work: number;
}

/** Word `words[i]` becomes `bases[from[i]] + offsets[i]`. */
interface Patches {
  readonly words: Int32Array;
  readonly from: Int32Array;
  readonly offsets: Float64Array;
}

const nothing: Cost = { bytes: 0, flops: 0 };

/** Turns a kernel of a plan into launches. */
export type Lower = (kernel: Kernel, plan: Plan) => Lowered;

/**
 * @param numberOf the number of a launch's module.
 * @param threads how many threads will share the tiles.
 */
export function compileProgram(
  plan: Plan,
  lower: Lower,
  numberOf: (launch: Launch) => number,
  threads: number,
): Program {
  const lowered = plan.kernels.map((kernel) => lower(kernel, plan));
  const arena = layArena(plan, lowered);
  const steps = stepsOf(plan, lowered, arena, numberOf);
  return {
    ...writeProgram(plan, steps, arena, threads),
    arenaBytes: arena.bytes,
    modules: steps.map((step) => step.module),
    names: steps.map((step) => plan.kernels[step.kernel].name),
    costs: steps.map(({ kernel }, i) =>
      steps[i + 1]?.kernel === kernel ? nothing : costOf(plan.kernels[kernel], plan),
    ),
    work: plan.kernels.reduce((sum, kernel) => sum + workOf(kernel), 0),
  };
}

interface Arena {
  readonly bytes: number;
  readonly ofBuffer: ReadonlyMap<number, Place>;
  /** By kernel and index. */
  readonly ofTemporary: readonly (readonly Place[])[];
}

/** One arena for the temporaries of the plan and those of its kernels. */
function layArena(plan: Plan, lowered: readonly Lowered[]): Arena {
  const buffers = [...plan.buffers.keys()].filter((i) => plan.buffers[i].source.kind === "temporary");
  const ofPlan = buffers.map((i) => {
    const { source, dtype, size } = plan.buffers[i];
    if (source.kind !== "temporary") throw internal("not a temporary");
    return { from: source.from, until: source.until, bytes: size * deviceBytes(dtype) };
  });
  const own = lowered.flatMap(({ temporaries }, k) => temporaries.map((bytes) => ({ from: k, until: k, bytes })));
  const intervals = [...ofPlan, ...own];
  const { offsets, bytes } = planArena(intervals);
  const places = intervals.map((interval, i): Place => {
    return { owner: "arena", from: offsets[i], until: offsets[i] + interval.bytes };
  });
  let next = buffers.length;
  return {
    bytes,
    ofBuffer: new Map(buffers.map((buffer, i) => [buffer, places[i]])),
    ofTemporary: lowered.map(({ temporaries }) => temporaries.map(() => places[next++])),
  };
}

interface Step {
  readonly launch: Launch;
  readonly kernel: number;
  readonly module: number;
  readonly barrier: boolean;
  readonly narrow: boolean;
}

/** Below this many nanoseconds of work a step is not worth a barrier on either side: one thread runs it. */
const sharable = 8_000;

function stepsOf(plan: Plan, lowered: readonly Lowered[], arena: Arena, numberOf: (launch: Launch) => number): Step[] {
  const places = plan.buffers.map(({ source }, i): Place => {
    const owner = source.kind === "root" ? (source.reuses ?? i) : i;
    return arena.ofBuffer.get(i) ?? { owner, from: 0, until: Infinity };
  });
  const needsBarrier = createBarriers();
  return lowered.flatMap(({ launches }, kernel) => {
    const stored = new Set(storesOf(plan.kernels[kernel]).map((store) => store.buffer));
    const written = [...[...stored].map((b) => places[b]), ...arena.ofTemporary[kernel]];
    const read = [...new Set(readsOf(plan.kernels[kernel]))].map((b) => places[b]);
    const work = workOf(plan.kernels[kernel]) / launches.length;
    return launches.map((launch) => {
      const narrow = launch.tiles <= 1 || work < sharable;
      // The launches of one kernel write the same, so they always depend on each other.
      return { launch, kernel, module: numberOf(launch), narrow, barrier: needsBarrier(read, written, narrow) };
    });
  });
}

/** Where the parts of a program of `steps` begin, in words. */
const partsOf = (steps: number) => {
  // One more record than there are steps: the end has a time too.
  const counters = layout.head + (steps + 1) * layout.record;
  return { counters, args: alignBlock(counters + steps) };
};

const alignBlock = (words: number): number => Math.ceil(words / 4) * 4;

function writeProgram(plan: Plan, steps: readonly Step[], arena: Arena, threads: number) {
  const { counters, args } = partsOf(steps.length);
  const starts: number[] = [];
  let size = args;
  for (const { launch } of steps) {
    starts.push(size);
    size = alignBlock(size + launch.args.reduce((sum, word) => sum + wordsOf(plan, word), 0));
  }
  const template = new Int32Array(size);
  const patches = createPatches(plan.buffers.length);
  const numbers = plan.numbers.map((dtype) => ({ dtype, words: [] as number[] }));
  template[layout.steps] = steps.length;
  patches.add(layout.counters, patches.self, counters * 4);
  steps.forEach(({ launch, kernel, module, barrier, narrow }, i) => {
    const record = layout.head + i * layout.record;
    template[record + layout.kernel] = module;
    patches.add(record + layout.args, patches.self, starts[i] * 4);
    template[record + layout.tiles] = launch.tiles;
    template[record + layout.batch] = Math.max(1, Math.floor(launch.tiles / (8 * threads)));
    template[record + layout.barrier] = Number(barrier);
    template[record + layout.narrow] = Number(narrow);
    let at = starts[i];
    for (const word of launch.args) {
      if (word.kind === "int") template[at] = word.value;
      else if (word.kind === "number") numbers[word.slot].words.push(at);
      else if (word.kind === "temporary") patches.add(at, patches.arena, arena.ofTemporary[kernel][word.index].from);
      else {
        const offset = word.offset * deviceBytes(plan.buffers[word.buffer].dtype);
        const place = arena.ofBuffer.get(word.buffer);
        if (place) patches.add(at, patches.arena, place.from + offset);
        else patches.add(at, word.buffer, offset);
      }
      at += wordsOf(plan, word);
    }
  });
  return { template, numbers, patches: patches.finish() };
}

const wordsOf = (plan: Plan, word: Word): number =>
  word.kind === "number" && plan.numbers[word.slot] === "f64" ? 2 : 1;

/** Bases beyond the buffers' own addresses: the arena and the program. */
function createPatches(buffers: number) {
  const words: number[] = [];
  const from: number[] = [];
  const offsets: number[] = [];
  return {
    arena: buffers,
    self: buffers + 1,
    add(word: number, base: number, offset: number): void {
      words.push(word);
      from.push(base);
      offsets.push(offset);
    },
    finish: (): Patches => ({
      words: Int32Array.from(words),
      from: Int32Array.from(from),
      offsets: Float64Array.from(offsets),
    }),
  };
}

/** What a run brings: where things are, in bytes, its numbers by slot, and how many threads will walk it. */
export interface Bindings {
  /** By buffer of the plan; temporaries of any value. */
  readonly buffers: readonly number[];
  readonly arena: number;
  readonly numbers: readonly number[];
  readonly threads: number;
  readonly timed: boolean;
}

/** How long each step of a program that was timed took, in microseconds. */
export function stepTimes(program: Program, address: number, words: Int32Array): number[] {
  const began = (step: number): number => words[address / 4 + layout.head + step * layout.record + layout.began];
  return program.names.map((_, step) => (began(step + 1) - began(step) + 2 ** 31) % 2 ** 31);
}

/** Writes a runnable copy of a program at a byte address. */
export function writeRun(program: Program, address: number, run: Bindings, views: Views): void {
  const { template, patches, numbers } = program;
  const start = address / 4;
  const { i32 } = views;
  i32.set(template, start);
  i32[start + layout.threads] = run.threads;
  i32[start + layout.timed] = Number(run.timed);
  const bases = Float64Array.from([...run.buffers, run.arena, address]);
  const { words, from, offsets } = patches;
  for (let i = 0; i < words.length; i++) i32[start + words[i]] = bases[from[i]] + offsets[i];
  numbers.forEach(({ dtype, words }, slot) => {
    for (const word of words) writeNumber(views, wasmDType(dtype), start + word, run.numbers[slot]);
  });
}

/** An f64 is aligned to 4 bytes only, so it goes through a buffer of its own. */
function writeNumber(views: Views, dtype: WasmDType, word: number, value: number): void {
  if (dtype === "bool") views.bool[word] = Number(value !== 0);
  else if (dtype !== "f64") views[dtype][word] = value;
  else views.i32.set(new Int32Array(Float64Array.of(value).buffer), word);
}
