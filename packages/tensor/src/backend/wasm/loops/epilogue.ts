/** A plan's epilogue of a matrix product, as code that reads blocks of the result while they are in cache. */
import type { Instruction, LoopKernel, RoutineKernel, View } from "../../../schedule/plan.ts";
import { stridesOf } from "../../../shape.ts";
import { i32, type I32, type Local } from "../assembler.ts";
import { FINISH_WORDS, type Epilogue } from "../kernels/kernel.ts";
import type { Word } from "../launch.ts";
import { accessTable, wordList } from "./accesses.ts";
import { evaluate, intoWindow, noValues, traitsOf, writeOut } from "./body.ts";
import { unrollFor } from "./build.ts";
import { at, type Cursor, type Emission } from "./emission.ts";
import { importMath, startEmission, windowCursors } from "./emit.ts";
import { textOf } from "./lower.ts";
import type { Nest } from "./nest.ts";
import { costOfVector } from "./orient.ts";
import { noReuse } from "../../../schedule/reuse.ts";
import type { Space } from "./space.ts";
import { buildStages } from "./stages.ts";
import { walkLanes } from "./walk.ts";

export interface FusedEpilogue extends Epilogue {
  /** Equal keys mean equal code. */
  readonly key: string;
  /** Follow the routine's words. */
  readonly words: readonly Word[];
}

/** Stands for the block in scratch that the result is read from. */
const RESULT = -1;

/** Padding would need its bounds checked at every row, and f64 vectors of two lanes: a kernel of its own serves those. */
const isPlain = (step: Instruction): boolean =>
  step.op !== "inside" && step.dtype !== "f64" && !("view" in step && step.view.bounds);

/** @returns undefined if the epilogue must be a kernel of its own, which then reads the result from memory. */
export function fuseEpilogue({ name, shape, dtype, epilogue }: RoutineKernel): FusedEpilogue | undefined {
  if (!epilogue.body.every(isPlain)) return undefined;
  const view = { offset: 0, strides: stridesOf(shape) };
  const body = epilogue.body.map((step): Instruction =>
    step.op === "result" ? { op: "load", dtype, buffer: RESULT, view } : step,
  );
  const stage = { kind: "map", over: "outer", body, stores: epilogue.stores } as const;
  const kernel: LoopKernel = { kind: "loop", name, outer: shape, row: [], stages: [stage] };
  const { nest, words, result } = buildBlockNest(kernel, view);
  return {
    key: textOf({ nest, result }),
    words,
    define(m, before) {
      const imports = importMath(m, nest);
      return m.define(FINISH_WORDS, "void", (f, p) => {
        const args = f.let(i32.add(p.args, 4 * before));
        emitBlock(startEmission(f, nest, { args, scratch: i32.const(0), imports }), p, result);
      });
    },
  };
}

/** The nest of an elementwise kernel whose axes stay as they are, the last along the lanes: its blocks are cut by others. */
function buildBlockNest(kernel: LoopKernel, resultView: View) {
  const { outer: shape } = kernel;
  const space: Space = {
    axes: shape.map((extent) => ({ extent, over: "outer", pinned: true })),
    views: new Map(),
  };
  const [stage] = kernel.stages;
  const stores = stage.kind === "map" ? stage.stores : [];
  for (const { view } of [...stage.body.filter((step) => "view" in step), ...stores])
    space.views.set(view, { offset: view.offset, strides: [...view.strides], bounds: shape.map(() => undefined) });
  const words = wordList();
  const points = shape.slice(0, -1).map(words.int);
  const views = accessTable(space, words, "outer", points.length);
  const unroll = unrollFor(costOfVector(space, kernel, "outer"), 4);
  const stages = buildStages(kernel, noReuse(kernel), views, words, () => unroll);
  const result = space.views.has(resultView) ? views.memory(RESULT, "f32", resultView) : undefined;
  const none = words.int(0);
  const extents = { points: none, pointsPerTile: none, lanes: none, chunk: none, chunks: none, lines: none };
  const nest: Nest = { width: 4, lanes: "outer", points, lines: [], extents, accesses: views.accesses, stages };
  // The address of a block comes with each call.
  const own = words.list.map((word): Word => (word.kind === "temporary" ? { kind: "int", value: 0 } : word));
  return { nest, words: own, result };
}

type Block = { readonly [W in keyof typeof FINISH_WORDS]: Local<"i32"> };

/** Runs the nest's only stage over a block, row by row. */
function emitBlock(e: Emission, block: Block, result: number | undefined): void {
  const { f, nest, word } = e;
  const [stage] = nest.stages;
  const traits = traitsOf(e, stage);
  const outer = [...coordinatesOf(e, block.batch), block.row];
  const moving = nest.accesses.map((access, i) => {
    if (i === result) return { cursor: f.let(i32.sub(block.from, i32.shl(block.col, 2))), step: block.stride };
    const base = access.base === undefined ? i32.const(0) : word(access.base);
    const start = access.points.reduce((sum: I32, stride, axis) => at(sum, outer[axis], word(stride)), base);
    return { cursor: f.let(start), step: f.let(word(access.points[access.points.length - 1])) };
  });
  const cursors = new Map(moving.map(({ cursor }, i): [number, Cursor] => [i, { at: cursor }]));
  const [row, end] = [f.local("i32"), f.let(i32.add(block.col, block.cols))];
  f.for(row, 0, block.rows, 1, () => {
    const values = noValues();
    const reduced = new Map<number, never>();
    evaluate(e, { stage, traits, cursors, reduced }, values, (i) => traits.uniform[i]);
    walkLanes(e, block.col, end, stage.unroll, (window) => {
      const place = { stage, traits, cursors: windowCursors(e, cursors, window), window, reduced };
      const here = intoWindow(e, stage, values, window);
      evaluate(e, place, here, () => true);
      writeOut(e, place, window, here);
    });
    for (const { cursor, step } of moving) f.set(cursor, i32.add(cursor, step));
  });
}

/** The coordinates of a batch item along the axes before rows and columns. A group's number is one only where the result has an axis of groups. */
function coordinatesOf({ f, nest, word }: Emission, batch: I32): Local<"i32">[] {
  const rest = f.let(batch);
  return nest.points
    .slice(0, -1)
    .toReversed()
    .map((extent) => {
      const coordinate = f.let(i32.rem_u(rest, word(extent)));
      f.set(rest, i32.div_u(rest, word(extent)));
      return coordinate;
    })
    .toReversed();
}
