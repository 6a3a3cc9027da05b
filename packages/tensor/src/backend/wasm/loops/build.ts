/** From a kernel to a nest, the words it is given, and its tiles. */
import { internal } from "../../../errors.ts";
import type { Instruction, LoopKernel, Store, Value, View } from "../../../schedule/plan.ts";
import type { DType } from "../../../types.ts";
import { deviceBytes } from "../../../types.ts";
import { scratchBytes, type Word } from "../launch.ts";
import type { Access, Bound, Nest, NestStage, Slot, Step } from "./nest.ts";
import { costOfVector, orient } from "./orient.ts";
import { findReuse, noReuse, operandsOf, type Reuse } from "./reuse.ts";
import { spaceOf, type Space, type SpaceView } from "./space.ts";

export interface Built {
  readonly nest: Nest;
  readonly words: readonly Word[];
  readonly tiles: number;
  /** The extent along the lanes, how much of it a tile takes, and how many lines the row has. */
  readonly lanes: number;
  readonly chunk: number;
  readonly lines: number;
}

const product = (extents: readonly number[]): number => extents.reduce((a, b) => a * b, 1);

interface Words {
  readonly list: Word[];
  readonly int: (value: number) => Slot;
  readonly add: (word: Word, size?: number) => Slot;
}

function wordList(): Words {
  const list: Word[] = [];
  let size = 0;
  const add = (word: Word, words = 1): Slot => {
    list.push(word);
    size += words;
    return size - words;
  };
  return { list, add, int: (value) => add({ kind: "int", value }) };
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
  const lineCount = product(lineExtents);
  const tiling = tile({
    lanes,
    cost,
    unroll: unroll * width,
    points: product(pointExtents),
    lanesExtent,
    lineCount,
    strided: isTransposed(kernel, space, lanes),
  });
  const extents = {
    points: words.int(product(pointExtents)),
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
  const wanted = width === 4 && cut === undefined ? findReuse(kernel) : noReuse(kernel);
  const reuse = wanted.rows * (rowBytes + 16) <= scratchBytes ? wanted : noReuse(kernel);
  const cache =
    reuse.rows === 0 ? undefined : { rows: reuse.rows, bytes: words.int(Math.ceil(rowBytes / 16) * 16 + 16) };

  const views = accessTable(space, words, lanes, pointExtents.length);
  const stages = kernel.stages.map((stage, i) => ({
    ...buildStage(stage, i, reuse, views, words),
    unroll: lanes === "row" ? unrollFor(costOfVector(space, { ...kernel, stages: [stage] }, lanes), width) : unroll,
  }));
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
const unrollFor = (cost: number, width: 2 | 4): number => (width === 4 && cost <= 8 ? 4 : 2);

// ---- tiles ----

/** Additions of vectors that a tile should take: some ten microseconds. */
const TILE_WORK = 16384;

interface Extent {
  readonly lanes: "outer" | "row";
  readonly cost: number;
  readonly unroll: number;
  readonly points: number;
  readonly lanesExtent: number;
  readonly lineCount: number;
  /** Some array is strided along the lanes. */
  readonly strided: boolean;
}

/** Elements along the lanes of a block of a transposition: what the block touches fits the first-level cache, in whole lines. */
const BLOCK_LANES = 16;

/** How much a tile takes: whole points where the lanes are few, else chunks of the lanes of one point. */
function tile({ lanes, cost, unroll, points, lanesExtent, lineCount, strided }: Extent) {
  const elements = 2 ** Math.round(Math.log2(Math.min(Math.max((4 * TILE_WORK) / Math.max(cost, 1), 1024), 16384)));
  if (lanes === "row") {
    const pointsPerTile = Math.max(1, Math.floor(elements / Math.max(lanesExtent * lineCount, 1)));
    return { pointsPerTile, chunk: lanesExtent, chunks: 1, tiles: Math.ceil(points / pointsPerTile) };
  }
  const columns = Math.max(unroll, Math.ceil(elements / Math.max(lineCount, 1) / unroll) * unroll);
  const chunk = Math.min(columns, Math.max(lanesExtent, 1), strided ? BLOCK_LANES : Infinity);
  const chunks = Math.ceil(lanesExtent / chunk);
  const pointsPerTile = Math.max(1, Math.floor(columns / chunk));
  return { pointsPerTile, chunk, chunks, tiles: Math.ceil(points / pointsPerTile) * chunks };
}

/** Whether an array is strided along the lanes, so that neighbouring points share its cache lines. */
function isTransposed(kernel: LoopKernel, space: Space, lanes: "outer" | "row"): boolean {
  const axis = space.axes.findLastIndex(({ over }) => over === lanes);
  const isStrided = (view: View): boolean => Math.abs(space.views.get(view)?.strides[axis] ?? 0) > 1;
  const hasRow = space.axes.some(({ over }) => over === "row");
  return (
    !hasRow &&
    kernel.stages.some(
      (stage) =>
        stage.body.some((step) => (step.op === "load" || step.op === "gather") && isStrided(step.view)) ||
        (stage.kind === "map" && stage.stores.some((store) => isStrided(store.view))),
    )
  );
}

// ---- views ----

interface AccessTable {
  readonly accesses: Access[];
  /** The access of a view; `undefined` if it holds no element anywhere. */
  readonly memory: (buffer: number, dtype: DType, view: View) => number | undefined;
  readonly coordinate: (view: View) => number | undefined;
  readonly inside: (bounds: NonNullable<View["bounds"]>) => number | undefined;
}

function accessTable(space: Space, words: Words, lanes: "outer" | "row", pointRank: number): AccessTable {
  const accesses: Access[] = [];
  const known = new Map<string, number>();
  const lanesAxis = lanes === "row" ? space.axes.length - 1 : pointRank;
  const firstLine = lanes === "row" ? pointRank : pointRank + 1;
  const lineRank = space.axes.length - pointRank - 1;

  const boundsOf = (view: SpaceView): Bound[] =>
    view.bounds.flatMap((bounds, i) => {
      if (!bounds) return [];
      const axis: Bound["axis"] =
        i === lanesAxis
          ? { of: "lanes" }
          : i < pointRank
            ? { of: "points", index: i }
            : { of: "lines", index: i - firstLine };
      return [{ axis, from: words.int(bounds[0]), span: words.int(bounds[1] - bounds[0]) }];
    });

  /** One access for all views that are alike. */
  const entry = (name: string, view: SpaceView | undefined, unit: Access["unit"], base?: Word): number | undefined => {
    if (view === undefined) return undefined;
    const key = `${name}:${view.offset}:${view.strides}:${JSON.stringify(view.bounds)}`;
    const existing = known.get(key);
    if (existing !== undefined) return existing;
    const stride = base ? view.strides[lanesAxis] : 0;
    const walk =
      stride === 0 && !(base && view.bounds[lanesAxis])
        ? "uniform"
        : stride === 1 && unit !== 1
          ? "contiguous"
          : "strided";
    const lineStrides = base ? view.strides.slice(firstLine, firstLine + lineRank) : [];
    const moves =
      lineStrides.some((s) => s !== 0) || view.bounds.some((b, i) => b && i >= firstLine && i !== lanesAxis);
    const access: Access = {
      ...(base && { base: words.add(base) }),
      unit,
      walk,
      ...(walk === "strided" && { stride: words.int(stride * unit) }),
      points: base ? view.strides.slice(0, pointRank).map((s) => words.int(s * unit)) : [],
      ...(moves && { lines: lineStrides.map((s) => words.int(s * unit)) }),
      bounds: boundsOf(view),
    };
    known.set(key, accesses.length);
    return accesses.push(access) - 1;
  };

  return {
    accesses,
    memory(buffer, dtype, view) {
      const at = space.views.get(view);
      const unit = deviceBytes(dtype) as 4 | 8;
      return entry(`${buffer}`, at, unit, at && baseOf(buffer, at.offset));
    },
    coordinate(view) {
      const at = space.views.get(view);
      return entry("coordinate", at, 1, at && { kind: "int", value: at.offset });
    },
    inside: (bounds) => entry("inside", space.views.get(bounds), 1),
  };
}

/** Temporaries are read and written from their start. */
const baseOf = (buffer: number, offset: number): Word =>
  buffer < 0 ? { kind: "temporary", index: -1 - buffer } : { kind: "buffer", buffer, offset };

// ---- stages ----

type Unplaced = NestStage extends infer S ? (S extends unknown ? Omit<S, "unroll"> : never) : never;

function buildStage(
  stage: LoopKernel["stages"][number],
  index: number,
  reuse: Reuse,
  views: AccessTable,
  words: Words,
): Unplaced {
  const stores = stage.kind === "map" ? stage.stores : [];
  const roots = stage.kind === "reduce" ? [stage.value] : stores.map((store) => store.value);
  const keeps = [...reuse.keeps[index]];
  const { body, position } = buildBody(
    stage.body,
    [...roots, ...keeps.map(([value]) => value)],
    reuse.cached[index],
    views,
    words,
  );
  const kept = keeps.map(([value, row]) => ({ value: position(value), row }));
  if (stage.kind === "reduce") {
    return { kind: "reduce", op: stage.op, dtype: stage.dtype, value: position(stage.value), body, keeps: kept };
  }
  return {
    kind: "map",
    over: stage.over,
    body,
    keeps: kept,
    stores: stores.flatMap((s) => buildStore(s, stage.body, views, position)),
  };
}

function buildStore(
  store: Store,
  body: readonly Instruction[],
  views: AccessTable,
  position: (value: Value) => number,
) {
  if (store.view.bounds) throw internal("a store with bounds");
  const access = views.memory(store.buffer, body[store.value].dtype, store.view);
  return access === undefined ? [] : [{ access, value: position(store.value) }];
}

/** The instructions that the roots need, in their order. */
function buildBody(
  body: readonly Instruction[],
  roots: readonly Value[],
  cached: ReadonlyMap<Value, number>,
  views: AccessTable,
  words: Words,
) {
  const needed = new Set<Value>();
  const need = (value: Value): void => {
    if (needed.has(value)) return;
    needed.add(value);
    if (!cached.has(value)) operandsOf(body[value]).forEach(need);
  };
  roots.forEach(need);
  const steps: Step[] = [];
  const positions = new Map<Value, number>();
  const position = (value: Value): number => positions.get(value)!;
  body.forEach((instruction, value) => {
    if (!needed.has(value)) return;
    const row = cached.get(value);
    const { dtype } = instruction;
    const step: Step =
      row === undefined ? buildStep(instruction, position, views, words) : { op: "cached", dtype, row };
    positions.set(value, steps.push(step) - 1);
  });
  return { body: steps, position };
}

function buildStep(step: Instruction, position: (value: Value) => number, views: AccessTable, words: Words): Step {
  const { dtype } = step;
  const zero: Step = { op: "constant", dtype, value: 0 };
  switch (step.op) {
    case "load": {
      const access = views.memory(step.buffer, dtype, step.view);
      return access === undefined ? zero : { op: "load", dtype, access };
    }
    case "gather": {
      const access = step.extent > 0 ? views.memory(step.buffer, dtype, step.view) : undefined;
      if (access === undefined) return zero;
      const stride = words.int(step.stride * deviceBytes(dtype));
      return { op: "gather", dtype, access, index: position(step.index), stride, extent: words.int(step.extent) };
    }
    case "number":
      return { op: "number", dtype, slot: words.add({ kind: "number", slot: step.slot }, deviceBytes(dtype) / 4) };
    case "constant":
      return { op: "constant", dtype, value: step.value };
    case "coordinate": {
      const access = views.coordinate(step.view);
      return access === undefined ? zero : { op: "coordinate", dtype, access };
    }
    case "inside": {
      const access = views.inside(step.bounds);
      return access === undefined ? zero : { op: "inside", dtype, access };
    }
    case "map":
      return { op: "map", dtype, fn: step.fn, args: step.args.map(position) };
    case "reduced":
      return { op: "reduced", dtype, stage: step.stage };
    case "result":
      throw internal("a routine's result in a generated kernel");
  }
}
