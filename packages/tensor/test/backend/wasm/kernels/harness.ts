/** Runs a routine as the program does: argument block, scratch, temporary, its steps in order, each step's tiles in any split. */
import { f32, i32, type EmitOptions, type Expr, type I32 } from "../../../../src/backend/wasm/assembler.ts";
import { detectFeatures } from "../../../../src/backend/wasm/features.ts";
import { at, FINISH_WORDS, type Epilogue, type Routine } from "../../../../src/backend/wasm/kernels/kernel.ts";
import { scratchBytes } from "../../../../src/backend/wasm/launch.ts";
import { mathImports } from "../../../../src/backend/wasm/math.ts";

export interface RunOptions extends Partial<EmitOptions> {
  epilogue?: Epilogue;
  /** Words after the routine's own, for the epilogue: arrays become pointers. */
  extra?: readonly (number | Float32Array)[];
  /** Tiles per call of `run`. */
  chunk?: number;
  /** Call the tiles last to first. */
  backwards?: boolean;
  /** The input that ends where the memory ends, so that reading past it traps. */
  last?: string;
}

type Data = Float32Array | Float64Array | Int32Array | Uint32Array;

/** Runs the routine; inputs are copied in, `output` comes back filled. Every byte not written by someone is NaN. */
export function runRoutine<S, P extends string, W extends string, D extends Data>(
  routine: Routine<S, P, W>,
  shape: S,
  inputs: Partial<Record<P, Data>>,
  output: { name: P; data: D },
  options: RunOptions = {},
): D {
  const relaxedMadd = (options.relaxedMadd ?? true) && detectFeatures().relaxedMadd;
  const emit: EmitOptions = { shared: options.shared ?? false, relaxedMadd };
  const round = (bytes: number): number => Math.ceil(bytes / 64) * 64 + 64;
  const extra = options.extra ?? [];
  const arrays: [string, Data][] = [
    ...Object.entries<Data>(inputs as Record<string, Data>),
    [output.name, output.data],
  ];
  extra.forEach((word, i) => typeof word !== "number" && arrays.push([`extra${i}`, word]));
  arrays.sort(([a], [b]) => Number(a === options.last) - Number(b === options.last));
  const argsAt = 1024;
  const temporaryAt = argsAt + round(4 * (routine.words.length + extra.length));
  const scratchAt = temporaryAt + round(routine.temporaryBytes(shape));
  let top = scratchAt + scratchBytes;
  const total = arrays.reduce((sum, [, data]) => sum + round(data.byteLength), top);
  const pages = Math.ceil(total / 65536);
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: emit.shared });
  new Uint8Array(memory.buffer).fill(0xff);
  const where: Record<string, number> = { temporary: temporaryAt };
  for (const [name, data] of arrays) {
    where[name] = name === options.last ? pages * 65536 - data.byteLength : top;
    top += round(data.byteLength);
    if (name !== output.name)
      new Uint8Array(memory.buffer).set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), where[name]);
  }
  const extents = routine.extents(shape);
  const words = new Int32Array(memory.buffer, argsAt);
  routine.words.forEach((word, i) => (words[i] = where[word] ?? extents[word as W]));
  extra.forEach((word, i) => (words[routine.words.length + i] = typeof word === "number" ? word : where[`extra${i}`]!));
  for (const step of routine.steps) {
    const module = new WebAssembly.Module(
      step.emit(emit, step === routine.steps.at(-1) ? options.epilogue : undefined),
    );
    const { exports } = new WebAssembly.Instance(module, { env: { memory }, math: mathImports });
    const run = exports["run"] as (args: number, begin: number, end: number, scratch: number) => void;
    const tiles = step.tiles(shape);
    const chunk = options.chunk ?? tiles;
    const starts = Array.from({ length: Math.ceil(tiles / chunk) || 0 }, (_, i) => i * chunk);
    for (const start of options.backwards ? starts.reverse() : starts)
      run(argsAt, start, Math.min(start + chunk, tiles), scratchAt);
  }
  const bytes = new Uint8Array(memory.buffer).slice(where[output.name], where[output.name]! + output.data.byteLength);
  new Uint8Array(output.data.buffer).set(bytes);
  return output.data;
}

/** An epilogue that stores each element, changed, at a row of the result counted from `line`. */
export const storing = (
  routine: { readonly words: readonly string[] },
  line: (batch: I32, row: I32) => I32,
  change: (value: Expr<"f32">, at: { word: (index: number) => I32; batch: I32; row: I32; col: I32 }) => Expr<"f32">,
): Epilogue => ({
  define: (m, words) =>
    m.define(FINISH_WORDS, "void", (f, p) => {
      const [i, j] = [f.local("i32"), f.local("i32")];
      const word = (index: number): I32 => i32.load(p.args, 4 * index);
      f.for(i, 0, p.rows, 1, () =>
        f.for(j, 0, p.cols, 1, () => {
          const place = {
            word: (k: number) => word(words + k),
            batch: p.batch,
            row: i32.add(p.row, i),
            col: i32.add(p.col, j),
          };
          const value = f.let(f32.load(at(at(p.from, i, p.stride), j, 4)));
          const row = at(
            word(routine.words.indexOf("c")),
            line(p.batch, place.row),
            i32.shl(word(routine.words.indexOf("n")), 2),
          );
          f.do(f32.store(at(row, place.col, 4), change(value, place)));
        }),
      );
    }),
});

let state = 1;
/** Uniform on [-1, 1), the same every run. */
export const random = (): number => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 31 - 1;
export const randoms = (length: number): Float32Array => Float32Array.from({ length }, random);
