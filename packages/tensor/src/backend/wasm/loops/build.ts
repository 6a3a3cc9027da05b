/** From a kernel to a nest, the words it is given, and its tiles. */
import type { LoopKernel } from "../../../schedule/plan.ts";
import { findReuse, noReuse } from "../../../schedule/reuse.ts";
import { sizeOf } from "../../../shape.ts";
import { scratchBytes, type Word } from "../launch.ts";
import { accessTable, wordList } from "./accesses.ts";
import type { Nest } from "./nest.ts";
import { costOfVector, orient } from "./orient.ts";
import { costOf } from "./scalarOps.ts";
import { spaceOf } from "./space.ts";
import { buildStages } from "./stages.ts";
import { isTransposed, tile } from "./tiles.ts";

export interface Built {
  readonly nest: Nest;
  readonly words: readonly Word[];
  readonly tiles: number;
  /** The extent along the lanes, how much of it a tile takes, and how many lines the row has. */
  readonly lanes: number;
  readonly chunk: number;
  readonly lines: number;
}

/**
 * Builds the nest of a kernel. Buffers below 0 are temporaries of the launches: -1 is the first.
 *
 * @param cutTo the length of the pieces, in lanes or lines, that the first outer axis counts (see `Nest.cut`).
 */
export function build(kernel: LoopKernel, cutTo?: number): Built {
  const space = spaceOf(kernel, cutTo !== undefined);
  const lanes = orient(space, kernel);
  const outer = space.axes.filter((axis) => axis.over === "outer");
  const row = space.axes.filter((axis) => axis.over === "row");
  const lanesExtent = (lanes === "outer" ? outer.pop()! : row.pop()!).extent;
  const pointExtents = outer.map((axis) => axis.extent);
  const lineExtents = row.map((axis) => axis.extent);
  const words = wordList();
  const width = kernel.stages.some((stage) => stage.body.some((step) => step.dtype === "f64")) ? 2 : 4;
  const cost = costOfVector(space, kernel, lanes);
  const unroll = unrollFor(cost, width);
  const lineCount = sizeOf(lineExtents);
  const tiling = tile({
    lanes,
    cost,
    unroll: unroll * width,
    points: sizeOf(pointExtents),
    lanesExtent,
    lineCount,
    strided: isTransposed(kernel, space, lanes),
  });
  const extents = {
    points: words.int(sizeOf(pointExtents)),
    pointsPerTile: words.int(tiling.pointsPerTile),
    lanes: words.int(lanesExtent),
    chunk: words.int(tiling.chunk),
    chunks: words.int(tiling.chunks),
    lines: words.int(lineCount),
  };
  const points = pointExtents.map(words.int);
  const lines = lineExtents.map(words.int);
  const cut =
    cutTo === undefined
      ? undefined
      : ({ of: lanes === "row" && lineExtents.length === 0 ? "lanes" : "lines", length: words.int(cutTo) } as const);

  const rowBytes = 4 * lineCount * (lanes === "row" ? lanesExtent : 4 * unroll);
  const wanted = width === 4 && cut === undefined ? findReuse(kernel, costOf) : noReuse(kernel);
  const reuse = wanted.rows * (rowBytes + 16) <= scratchBytes ? wanted : noReuse(kernel);
  const cache =
    reuse.rows === 0 ? undefined : { rows: reuse.rows, bytes: words.int(Math.ceil(rowBytes / 16) * 16 + 16) };

  const views = accessTable(space, words, lanes, pointExtents.length);
  const stages = buildStages(kernel, reuse, views, words, (stage) =>
    lanes === "row" ? unrollFor(costOfVector(space, { ...kernel, stages: [stage] }, lanes), width) : unroll,
  );
  const nest: Nest = {
    width,
    lanes,
    points,
    lines,
    extents,
    ...(cut && { cut }),
    accesses: views.accesses,
    stages,
    ...(cache && { cache }),
  };
  return { nest, words: words.list, tiles: tiling.tiles, lanes: lanesExtent, chunk: tiling.chunk, lines: lineCount };
}

/** Light code keeps more vectors in flight; heavy code would run out of registers. */
export const unrollFor = (cost: number, width: 2 | 4): number => (width === 4 && cost <= 8 ? 4 : 2);
