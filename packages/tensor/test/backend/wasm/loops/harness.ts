import type { Launch, Lowered, Word } from "../../../../src/backend/wasm/launch.ts";
import { scratchBytes } from "../../../../src/backend/wasm/launch.ts";
import { lowerLoop } from "../../../../src/backend/wasm/loops/lower.ts";
import { mathImports } from "../../../../src/backend/wasm/math.ts";
import type { LoopKernel, Plan } from "../../../../src/schedule/plan.ts";
import { deviceBytes, hostArray, type DType, type TypedArray } from "../../../../src/types.ts";

export interface RunOptions {
  /** How many tiles each call of a module computes. Tiles run last to first if it is negative. */
  readonly tilesPerCall?: number;
  /** The byte that memory holds wherever no buffer is, and in temporaries. */
  readonly garbage?: number;
  readonly relaxedMadd?: boolean;
}

const GUARD = 256;

type Run = (args: number, begin: number, end: number, scratch: number) => void;

const modules = new Map<string, WebAssembly.Module>();

function moduleOf(launch: Launch): WebAssembly.Module {
  const existing = modules.get(launch.key);
  if (existing) return existing;
  const made = new WebAssembly.Module(launch.emit() as Uint8Array<ArrayBuffer>);
  modules.set(launch.key, made);
  return made;
}

/** Everything a plan of loop kernels needs in one plain memory, ready to run. */
function load(plan: Plan, leaves: readonly TypedArray[], numbers: readonly number[], options: RunOptions = {}) {
  const { garbage = 0xff, relaxedMadd = true } = options;
  const lowered = plan.kernels.map((kernel) => lowerLoop(kernel as LoopKernel, { shared: false, relaxedMadd }));
  const sizes = plan.buffers.map(({ dtype, size }) => deviceBytes(dtype) * size);
  let top = GUARD;
  const place = (bytes: number): number => {
    const start = top;
    top = Math.ceil((start + bytes) / 16) * 16 + GUARD;
    return start;
  };
  const addresses = sizes.map(place);
  plan.buffers.forEach(({ source }, i) => {
    if (source.kind === "root" && source.reuses !== undefined) addresses[i] = addresses[source.reuses];
  });
  const temporaries = lowered.map((kernel) => kernel.temporaries.map(place));
  const scratch = place(scratchBytes);
  const args = place(65536);
  const memory = new WebAssembly.Memory({ initial: Math.ceil(top / 65536) });
  new Uint8Array(memory.buffer).fill(garbage);
  plan.buffers.forEach(({ dtype, source }, i) => {
    if (source.kind === "leaf")
      deviceArray(memory, dtype, addresses[i], leaves[source.index].length).set(leaves[source.index]);
  });

  const instances = new Map<string, Run>();
  const instanceOf = (launch: Launch): Run => {
    const known = instances.get(launch.key);
    if (known) return known;
    const { exports } = new WebAssembly.Instance(moduleOf(launch), { env: { memory }, math: mathImports });
    instances.set(launch.key, exports["run"] as Run);
    return exports["run"] as Run;
  };
  const steps = lowered.flatMap((kernel, k) =>
    kernel.launches.map((launch) => ({
      launch,
      run: instanceOf(launch),
      words: wordsOf(launch.args, addresses, temporaries[k], plan, numbers),
    })),
  );
  const runStep = ({ launch, run, words }: (typeof steps)[number], tilesPerCall = Infinity): void => {
    new Uint32Array(memory.buffer, args, words.length).set(words);
    for (const [begin, end] of splits(launch.tiles, tilesPerCall)) run(args, begin, end, scratch);
  };
  return {
    lowered,
    memory,
    addresses,
    run: (tilesPerCall?: number): void => steps.forEach((step) => runStep(step, tilesPerCall)),
  };
}

function splits(tiles: number, tilesPerCall: number): [number, number][] {
  const size = Math.min(Math.abs(tilesPerCall), tiles) || 1;
  const ranges: [number, number][] = [];
  for (let begin = 0; begin < tiles; begin += size) ranges.push([begin, Math.min(begin + size, tiles)]);
  return tilesPerCall < 0 ? ranges.toReversed() : ranges;
}

function wordsOf(
  args: readonly Word[],
  addresses: readonly number[],
  temporaries: readonly number[],
  plan: Plan,
  numbers: readonly number[],
): number[] {
  return args.flatMap((word): number[] => {
    switch (word.kind) {
      case "int":
        return [word.value >>> 0];
      case "buffer":
        return [(addresses[word.buffer] + word.offset * deviceBytes(plan.buffers[word.buffer].dtype)) >>> 0];
      case "temporary":
        return [temporaries[word.index]];
      case "number": {
        const dtype = plan.numbers[word.slot];
        const cell = hostArray(dtype === "bool" ? "u32" : dtype, 1);
        cell[0] = numbers[word.slot];
        return [...new Uint32Array(cell.buffer)];
      }
    }
  });
}

/** A device buffer's elements; bools are 32-bit there. */
function deviceArray(memory: WebAssembly.Memory, dtype: DType, address: number, size: number): TypedArray {
  const kind = dtype === "bool" ? "u32" : dtype;
  const constructor = hostArray(kind, 0).constructor as new (b: ArrayBuffer, at: number, n: number) => TypedArray;
  return new constructor(memory.buffer as ArrayBuffer, address, size);
}

/** Runs a plan of loop kernels through generated modules, one thread. Fails if anything but the results was written. */
export function execute(
  plan: Plan,
  leaves: readonly TypedArray[],
  numbers: readonly number[],
  options: RunOptions = {},
): { roots: TypedArray[]; lowered: Lowered[] } {
  const { lowered, memory, addresses, run } = load(plan, leaves, numbers, options);
  run(options.tilesPerCall);
  const bytes = new Uint8Array(memory.buffer);
  plan.buffers.forEach(({ dtype, size }, i) => {
    const end = addresses[i] + size * deviceBytes(dtype);
    for (const at of [addresses[i] - 1, addresses[i] - GUARD / 2, end, end + GUARD / 2]) {
      if (bytes[at] !== (options.garbage ?? 0xff)) throw new Error(`buffer ${i} was written outside, at ${at}`);
    }
  });
  const roots: TypedArray[] = [];
  plan.buffers.forEach(({ dtype, size, source }, i) => {
    if (source.kind === "root")
      roots[source.index] = hostArrayOf(dtype, deviceArray(memory, dtype, addresses[i], size));
  });
  return { roots, lowered };
}

function hostArrayOf(dtype: DType, elements: TypedArray): TypedArray {
  const out = hostArray(dtype, elements.length);
  out.set(elements);
  return out;
}
