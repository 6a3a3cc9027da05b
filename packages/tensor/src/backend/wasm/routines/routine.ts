import { internal } from "../../../errors.ts";
import type { Operand, Plan, RoutineKernel, RoutineOp } from "../../../schedule/plan.ts";
import { sizeOf } from "../../../shape.ts";
import { assemble, i32, select, type Func, type I32, type Local } from "../assembler.ts";
import { emitOptions, type Features } from "../features.ts";
import type { Launch, Lowered, Word } from "../launch.ts";

export type RoutineOf<P extends RoutineOp> = Extract<RoutineKernel, { op: P }>;

/** Turns a routine of a plan into launches. */
export type LowerRoutine<P extends RoutineOp> = (kernel: RoutineOf<P>, plan: Plan, features: Features) => Lowered;

/** What the body of a launch may read: its words by name, and the thread's scratch. */
export interface Context<W extends string> {
  readonly f: Func;
  readonly w: Readonly<Record<W, Local<"i32">>>;
  readonly tile: Local<"i32">;
  readonly scratch: Local<"i32">;
}

/**
 * A launch whose module runs `body` once per tile. A word that is undefined is left out.
 *
 * @param name with everything that `body` depends on but the words: equal names mean equal modules.
 */
export function launch<W extends string>(
  features: Features,
  name: string,
  words: { readonly [N in W]: Word | undefined },
  tiles: number,
  body: (context: Context<W>) => void,
): Launch {
  const names = (Object.keys(words) as W[]).filter((word) => words[word]);
  const emit = (): Uint8Array =>
    assemble(emitOptions(features), (m) => {
      m.importMemory("env", "memory");
      m.define(
        { args: "i32", begin: "i32", end: "i32", scratch: "i32" },
        "void",
        (f, { args, begin, end, scratch }) => {
          const read = names.map((word, i) => [word, f.let(i32.load(args, 4 * i))]);
          const w = Object.fromEntries(read) as Record<W, Local<"i32">>;
          const tile = f.local("i32");
          f.for(tile, begin, end, 1, () => body({ f, w, tile, scratch }));
        },
        "run",
      );
    });
  return { key: name, emit, args: names.map((word) => words[word]!), tiles };
}

export const int = (value: number): Word => ({ kind: "int", value });
export const temporary = (index: number): Word => ({ kind: "temporary", index });

/** A contiguous operand. */
export const operand = ({ buffer, view }: Operand): Word => ({ kind: "buffer", buffer, offset: view.offset });

/** Where a routine without a fused epilogue stores its result, contiguously. */
export function result({ op, epilogue }: RoutineKernel): Word {
  const [store] = epilogue.stores;
  if (epilogue.stores.length !== 1 || epilogue.body[store.value].op !== "result")
    throw internal(`${op}: the epilogue is not one store of the result`);
  return { kind: "buffer", buffer: store.buffer, offset: store.view.offset };
}

/** `[...batch, length]` as rows. */
export function rowsOf({ shape }: Pick<Operand, "shape">): { rows: number; length: number } {
  const length = shape[shape.length - 1];
  return { rows: sizeOf(shape.slice(0, -1)), length };
}

export interface Shares {
  readonly tiles: number;
  /** Items per tile; the last tile may have fewer. */
  readonly share: number;
}

/** Tiles of about 16,000 elements' work, each a run of items that cost `cost` elements each. */
export function shares(items: number, cost: number): Shares {
  const share = Math.max(1, Math.min(items, Math.floor(16384 / Math.max(1, cost))));
  return { tiles: Math.ceil(items / share), share };
}

/** Runs `body` for each item of a tile. */
export function eachItem(
  { f, tile }: Pick<Context<never>, "f" | "tile">,
  { share, items }: { readonly share: I32; readonly items: I32 },
  body: (item: Local<"i32">) => void,
): void {
  const item = f.local("i32");
  const first = f.let(i32.mul(tile, share));
  const end = f.let(smaller(i32.add(first, share), items));
  f.for(item, first, end, 1, () => body(item));
}

/** The smaller of two values without effects: both are computed twice. */
export const smaller = (a: I32, b: I32): I32 => select(i32.lt_s(a, b), a, b);

/** `base + index * bytes`. */
export const at = (base: I32, index: I32 | number, bytes: number): I32 =>
  typeof index === "number" ? i32.add(base, index * bytes) : i32.add(base, i32.shl(index, Math.log2(bytes)));
