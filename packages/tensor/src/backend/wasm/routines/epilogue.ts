import { internal } from "../../../errors.ts";
import type { Instruction, Plan, RoutineKernel, Store, View } from "../../../schedule/plan.ts";
import { stridesOf } from "../../../shape.ts";
import type { Shape } from "../../../types.ts";
import { f32x4, i32, v128, type I32, type Local, type V128 } from "../assembler.ts";
import type { Epilogue } from "../kernels/kernel.ts";
import type { Word } from "../launch.ts";
import { importsOf, laneOf } from "../loops/scalarOps.ts";

/** An epilogue that runs while the block of the product is still in the cache. */
export interface FusedEpilogue {
  /** Everything its code depends on but the words. */
  readonly key: string;
  /** What follows the product's own words. */
  readonly words: readonly Word[];
  /** The store that the product may accumulate into and the epilogue finish in place; none if it would spoil what is still read. */
  readonly inPlace: Store | undefined;
  /** @param first how many words the product has. */
  readonly emit: (first: number) => Epilogue;
}

/** The epilogue of an f32 product in lanes of four columns, or nothing if it does what only loops can: other dtypes, padding, gathers. */
export function fuseEpilogue(kernel: RoutineKernel, plan: Plan): FusedEpilogue | undefined {
  const { body, stores } = kernel.epilogue;
  const views = new Map<View, Steps>();
  const seen = [...body.flatMap((i) => (i.op === "load" ? [i.view] : [])), ...stores.map((s) => s.view)];
  for (const view of seen) {
    const steps = stepsOf(kernel, view);
    if (!steps) return undefined;
    views.set(view, steps);
  }
  if (!body.every((step) => isFusable(step, body))) return undefined;
  if (!stores.every((s) => body[s.value].dtype === "f32" && views.get(s.view)!.col === 1)) return undefined;
  const inPlace = stores.find((store) => isContiguous(kernel.shape, store.view) && !spoils(store, body, plan));
  const words: Word[] = [];
  const placed = new Map<Instruction | Store, number>();
  const point = (of: Instruction | Store, buffer: number, view: View): void => {
    const { batch, row } = views.get(view)!;
    placed.set(of, words.length);
    words.push({ kind: "buffer", buffer, offset: view.offset }, int(4 * batch), int(4 * row));
  };
  for (const step of body) {
    if (step.op === "load") point(step, step.buffer, step.view);
    if (step.op === "number") {
      placed.set(step, words.length);
      words.push({ kind: "number", slot: step.slot });
    }
  }
  for (const store of stores) if (store !== inPlace) point(store, store.buffer, store.view);
  const code = body.map((step) => describe(step, views));
  const key = JSON.stringify([code, stores.map((s) => s.value), inPlace ? stores.indexOf(inPlace) : -1]);
  return { key, words, inPlace, emit: (first) => emitter({ body, stores, inPlace, views, placed, first }) };
}

const int = (value: number): Word => ({ kind: "int", value });

/** How a view moves with the batch item, the row and the column of the product, in elements. */
interface Steps {
  readonly batch: number;
  readonly row: number;
  readonly col: number;
}

/** Nothing if the view has bounds, steps through its batch axes unevenly, or neither along nor across vectors. */
function stepsOf({ shape }: RoutineKernel, { strides, bounds }: View): Steps | undefined {
  const [row, col] = strides.slice(-2);
  if (bounds || (col !== 0 && col !== 1)) return undefined;
  let batch: number | undefined;
  let next = 0;
  for (let axis = shape.length - 3; axis >= 0; axis--) {
    if (shape[axis] === 1) continue;
    if (batch === undefined) batch = strides[axis];
    else if (strides[axis] !== next) return undefined;
    next = strides[axis] * shape[axis];
  }
  return { batch: batch ?? 0, row, col };
}

function isFusable(step: Instruction, body: readonly Instruction[]): boolean {
  if (step.op === "map") {
    const inLanes = [step, ...step.args.map((arg) => body[arg])].every(
      ({ dtype }) => dtype === "f32" || dtype === "bool",
    );
    // The products' modules import no functions.
    return inLanes && importsOf(step.fn, "f32").length === 0;
  }
  return step.dtype === "f32" && ["load", "number", "constant", "result"].includes(step.op);
}

function isContiguous(shape: Shape, { strides }: View): boolean {
  const wanted = stridesOf(shape);
  return strides.every((stride, axis) => stride === wanted[axis] || shape[axis] === 1);
}

/** Whether sums accumulated in a store's buffer would overwrite a donated leaf that the body reads. */
function spoils({ buffer }: Store, body: readonly Instruction[], plan: Plan): boolean {
  const { source } = plan.buffers[buffer];
  const over = source.kind === "root" ? source.reuses : undefined;
  return over !== undefined && body.some((step) => step.op === "load" && step.buffer === over);
}

/** What the code of an instruction depends on: not its words. JSON has no NaN, infinities or -0. */
function describe(step: Instruction, views: ReadonlyMap<View, Steps>): unknown {
  if (step.op === "load") return ["load", views.get(step.view)!.col];
  if (step.op === "constant") return ["constant", Object.is(step.value, -0) ? "-0" : String(step.value)];
  if (step.op === "map") return [step.fn, step.dtype, step.args];
  return step.op;
}

interface Fused {
  readonly body: readonly Instruction[];
  readonly stores: readonly Store[];
  readonly inPlace: Store | undefined;
  readonly views: ReadonlyMap<View, Steps>;
  readonly placed: ReadonlyMap<Instruction | Store, number>;
  readonly first: number;
}

function emitter({ body, stores, inPlace, views, placed, first }: Fused): Epilogue {
  return (result, context) => {
    const { f } = context;
    const word = (of: Instruction | Store, offset = 0): I32 =>
      i32.load(context.args, 4 * (first + placed.get(of)! + offset));
    const values: Local<"v128">[] = [];
    for (const step of body) values.push(f.let(compute(step)));

    function compute(step: Instruction): V128 {
      switch (step.op) {
        case "result":
          return result;
        case "load":
          return load(step, step.view);
        case "number":
          return v128.load32_splat(context.args, 4 * (first + placed.get(step)!));
        case "constant":
          return f32x4.const(step.value);
        case "map": {
          const [from] = step.fn === "where" ? step.args.slice(1) : step.args;
          const lane = laneOf(step.fn, body[from].dtype);
          if (!lane) throw internal(`no code for ${step.fn} of ${body[from].dtype}`);
          const [a, b, c] = step.args.map((arg) => values[arg]);
          const last = body[step.args.at(-1)!].op;
          const lanes = { f, to: step.dtype, width: 4, uniform: last === "number" || last === "constant" } as const;
          return lane({ ...lanes, import: noImport }, a, b ?? a, c ?? a);
        }
        default:
          throw internal(`an epilogue in lanes has no ${step.op}`);
      }
    }
    function address(of: Instruction | Store, view: View): Local<"i32"> {
      const across = i32.add(i32.mul(context.batch, word(of, 1)), i32.mul(context.row, word(of, 2)));
      const start = i32.add(word(of), across);
      return f.let(views.get(view)!.col === 0 ? start : i32.add(start, i32.shl(context.col, 2)));
    }
    function load(step: Instruction, view: View): V128 {
      const at = address(step, view);
      return views.get(view)!.col === 0 ? v128.load32_splat(at) : context.load(at);
    }
    for (const store of stores) if (store !== inPlace) context.store(address(store, store.view), values[store.value]);
    return inPlace ? values[inPlace.value] : result;
  };
}

function noImport(name: string): never {
  throw internal(`an epilogue in lanes cannot call ${name}`);
}
