/**
 * Long rows at few points, and tall columns: each row is cut into pieces of fixed length, reduced on their own by as many tiles, and what
 * the pieces give is reduced again in their order. How a row is cut depends on shapes alone, so any number of threads gives the same bits.
 */
import { sizeOf, stridesOf } from "../../../shape.ts";
import type { Instruction, LoopKernel, Stage, View } from "../../../schedule/plan.ts";
import { deviceBytes } from "../../../types.ts";
import type { Built } from "./build.ts";

/** Elements of a piece, or a little less. A multiple of what a block of a sum takes. */
const PIECE = 16384;
/**
 * Lines of a piece of columns that are wider than half a page and together of a cache's size. Each line of a column is on a page of its
 * own: pieces of 128 lines (of 64 to 512 tried) sum 4096 lines of 1024 in a third of the time.
 */
const TALL_PIECE = 128;
const WIDE = 512;
const LARGE = 2 ** 18;
/** Enough tiles to keep the threads of any machine busy. */
const MANY_TILES = 32;

export interface Cut {
  /** Over `[pieces, ...outer]`: the reductions of each piece, stored in the temporaries. */
  readonly pieces: LoopKernel;
  /** In lanes or lines; see `Nest.cut`. */
  readonly length: number;
  /** Over `outer` and the pieces: the temporaries reduced, then the kernel's other stages. */
  readonly rest: LoopKernel;
  readonly temporaries: readonly number[];
}

type Reduce = Stage & { kind: "reduce" };

/** Cuts the rows of a kernel whose reductions need nothing but the row, if there are too few tiles otherwise or the columns are tall. */
export function cutRows(kernel: LoopKernel, whole: Built): Cut | undefined {
  const { nest, lanes, chunk, lines, tiles } = whole;
  const reduces = kernel.stages.filter((stage): stage is Reduce => stage.kind === "reduce");
  const isPlain = kernel.stages.every((stage) =>
    stage.kind === "map" ? stage.over === "outer" : stage.body.every((step) => step.op !== "reduced"),
  );
  if (!isPlain || reduces.length === 0) return undefined;
  const isTall = nest.lanes === "outer" && lanes >= WIDE && lines >= 4 * TALL_PIECE && lanes * lines >= LARGE;
  if (isTall) return cutInto(kernel, reduces, Math.ceil(lines / TALL_PIECE), TALL_PIECE);
  if (tiles >= MANY_TILES) return undefined;
  const alongLanes = nest.lanes === "row" && nest.lines.length === 0;
  const total = alongLanes ? lanes : lines;
  const perLine = nest.lanes === "row" ? lanes : chunk;
  const length = alongLanes ? PIECE : Math.max(1, Math.floor(PIECE / Math.max(perLine, 1)));
  const count = Math.ceil(total / length);
  return count < 2 ? undefined : cutInto(kernel, reduces, count, length);
}

function cutInto(kernel: LoopKernel, reduces: readonly Reduce[], count: number, length: number): Cut {
  const points = sizeOf(kernel.outer);
  const partial: View = { offset: 0, strides: stridesOf([count, ...kernel.outer]) };
  const again: View = { offset: 0, strides: [...stridesOf(kernel.outer), points] };
  const pieces: Stage[] = [
    ...reduces.map((stage): Stage => ({ ...stage, body: stage.body.map(overPieces) })),
    {
      kind: "map",
      over: "outer",
      body: reduces.map(({ dtype }, stage): Instruction => ({ op: "reduced", dtype, stage })),
      stores: reduces.map((_, i) => ({ buffer: -1 - i, view: partial, value: i })),
    },
  ];
  const stages = kernel.stages.map((stage): Stage => {
    if (stage.kind === "map") return stage;
    const buffer = -1 - reduces.indexOf(stage);
    return { ...stage, body: [{ op: "load", dtype: stage.dtype, buffer, view: again }], value: 0 };
  });
  return {
    pieces: { ...kernel, outer: [count, ...kernel.outer], stages: pieces },
    length,
    rest: { ...kernel, row: [count], stages },
    temporaries: reduces.map(({ dtype }) => deviceBytes(dtype) * count * points),
  };
}

/** An instruction over `[pieces, ...outer, ...row]`: the same at every piece, for the piece is a part of the row. */
function overPieces(step: Instruction): Instruction {
  const view = (v: View): View => ({
    offset: v.offset,
    strides: [0, ...v.strides],
    ...(v.bounds && { bounds: [[-Infinity, Infinity], ...v.bounds] as const }),
  });
  if (step.op === "load" || step.op === "gather" || step.op === "coordinate") return { ...step, view: view(step.view) };
  return step.op === "inside" ? { ...step, bounds: [[-Infinity, Infinity], ...step.bounds] } : step;
}
