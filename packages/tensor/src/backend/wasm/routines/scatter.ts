import { gatherExtents, type GatherExtents } from "../../../primitives/indexing.ts";
import { identityOf } from "../../../primitives/reduce.ts";
import type { DType } from "../../../types.ts";
import { i32, memory, select, type I32, type Local } from "../assembler.ts";
import type { Features } from "../features.ts";
import type { Launch, Lowered } from "../launch.ts";
import { elementsOf, loadVector, storeVector, type Elements } from "./elements.ts";
import {
  at,
  int,
  launch,
  operand,
  result,
  smaller,
  temporary,
  type Context,
  type LowerRoutine,
  type RoutineOf,
} from "./routine.ts";

/**
 * Each row of the result is computed by one thread: it starts at the identity and takes its updates in their order, so nothing
 * is atomic and every run gives the same bits. First the updates are listed by destination:
 *
 * - `single`: at most one counts (they are unique, or the last one wins): an index from destination to update.
 * - `runs`: the updates are sorted by destination: where each one's run begins.
 * - `lists`: neither: a counting sort, whose result lists the updates of each destination in order.
 */
export const scatter: LowerRoutine<"scatter"> = (kernel, _, features): Lowered => {
  const { unique, sorted, op } = kernel.attrs;
  const e = gatherExtents(kernel.attrs.shape, kernel.operands[1].shape, kernel.attrs);
  const how = unique || op === "set" ? "single" : sorted ? "runs" : "lists";
  const prepare = { single: findSources, runs: countRuns, lists: listUpdates }[how](kernel, e, features);
  const temporaries = [e.batch * (how === "single" ? e.n : e.n + 1) * 4];
  if (how === "lists") temporaries.push(e.batch * e.index * 4);
  return { launches: [prepare, combineRows(kernel, e, how, features)], temporaries };
};

type How = "single" | "runs" | "lists";
type Prepare = (kernel: RoutineOf<"scatter">, e: GatherExtents, features: Features) => Launch;

/** The words of a launch with one tile per batch. */
const prepareWords = (kernel: RoutineOf<"scatter">, e: GatherExtents) => ({
  index: operand(kernel.operands[1]),
  starts: temporary(0),
  n: int(e.n),
  count: int(e.index),
});

/** `starts[destination]` is the last update that goes there, or -1. */
const findSources: Prepare = (kernel, e, features) =>
  launch(features, "scatter sources", prepareWords(kernel, e), e.batch, (context) => {
    const { f, w, tile } = context;
    const sources = f.let(at(w.starts, i32.mul(tile, w.n), 4));
    f.do(memory.fill(sources, 0xff, i32.shl(w.n, 2)));
    eachUpdate(context, (update, row) => f.do(i32.store(at(sources, row, 4), update)));
  });

/** `starts[destination]` is the first of its run of sorted updates; one more entry ends the last run. */
const countRuns: Prepare = (kernel, e, features) =>
  launch(features, "scatter runs", prepareWords(kernel, e), e.batch, (context) => {
    const { f, w } = context;
    const starts = countInto(context, 1);
    const below = f.let(i32.const(0));
    const index = f.let(at(w.index, i32.mul(context.tile, w.count), 4));
    const negative = i32.lt_s(i32.load(at(index, below, 4)), 0);
    f.block((done) =>
      f.loop((again) => {
        f.brIf(done, i32.ge_s(below, w.count));
        f.brIf(done, i32.eqz(negative));
        f.set(below, i32.add(below, 1));
        f.br(again);
      }),
    );
    sumInto(context, starts, below);
  });

/** `order` lists the updates by destination, each destination's in their order; `starts` as in `countRuns`. */
const listUpdates: Prepare = (kernel, e, features) => {
  const words = { ...prepareWords(kernel, e), order: temporary(1) };
  return launch(features, "scatter lists", words, e.batch, (context) => {
    const { f, w, tile } = context;
    // Counts go two places up, so that after summing each start is one place up and moves down as its list fills.
    const starts = countInto(context, 2);
    sumInto(context, starts, i32.const(0));
    const order = f.let(at(w.order, i32.mul(tile, w.count), 4));
    eachUpdate(context, (update, row) => {
      const next = f.let(at(starts, row, 4));
      const place = f.let(i32.load(next, 4));
      f.do(i32.store(at(order, place, 4), update));
      f.do(i32.store(next, i32.add(place, 1), 4));
    });
  });
};

type Preparing = Context<"index" | "starts" | "n" | "count">;

/** Runs `body` for each update of the batch that has a destination. */
function eachUpdate({ f, w, tile }: Preparing, body: (update: Local<"i32">, row: Local<"i32">) => void): void {
  const index = f.let(at(w.index, i32.mul(tile, w.count), 4));
  const update = f.local("i32");
  f.for(update, 0, w.count, 1, () => {
    const row = f.let(i32.load(at(index, update, 4)));
    // Unsigned, a negative index is out of range too.
    f.if(i32.lt_u(row, w.n), () => body(update, row));
  });
}

/** Clears the batch's `n + 1` counters and counts the updates of each destination `up` places above it; those above the end are not counted. */
function countInto(context: Preparing, up: 1 | 2): Local<"i32"> {
  const { f, w, tile } = context;
  const starts = f.let(at(w.starts, i32.mul(tile, i32.add(w.n, 1)), 4));
  f.do(memory.fill(starts, 0, i32.shl(i32.add(w.n, 1), 2)));
  eachUpdate(context, (_, row) => {
    f.if(i32.le_s(i32.add(row, up), w.n), () => {
      const counter = f.let(at(starts, row, 4));
      f.do(i32.store(counter, i32.add(i32.load(counter, 4 * up), 1), 4 * up));
    });
  });
  return starts;
}

/** Counts become running sums that start at `first`. */
function sumInto({ f, w }: Preparing, starts: I32, first: I32): void {
  const sum = f.let(first);
  const row = f.local("i32");
  f.for(row, 0, i32.add(w.n, 1), 1, () => {
    const address = f.let(at(starts, row, 4));
    f.set(sum, i32.add(sum, i32.load(address)));
    f.do(i32.store(address, sum));
  });
}

/** Result rows per tile and columns per tile: about 16,000 updates' elements, and a hot row's columns shared out. */
function tileOf(e: GatherExtents): { rows: number; columns: number } {
  const perRow = 1 + e.index / Math.max(1, e.n);
  const rows = e.batch * e.before * e.n;
  let columns = Math.min(e.after, 1024);
  while (columns > 64 && (rows * e.after) / columns < 16) columns = Math.ceil(columns / 2 / 16) * 16;
  return { rows: Math.max(1, Math.floor(16384 / Math.max(1, columns * perRow))), columns: Math.max(1, columns) };
}

function combineRows(kernel: RoutineOf<"scatter">, e: GatherExtents, how: How, features: Features): Launch {
  const rows = e.batch * e.before * e.n;
  const tile = tileOf(e);
  const columnTiles = Math.ceil(e.after / tile.columns);
  const words = {
    updates: operand(kernel.operands[0]),
    out: result(kernel),
    starts: temporary(0),
    order: how === "lists" ? temporary(1) : undefined,
    n: int(e.n),
    before: int(e.before),
    count: int(e.index),
    after: int(e.after),
    rows: int(rows),
    tileRows: int(tile.rows),
    columns: int(tile.columns),
    columnTiles: int(columnTiles),
  };
  const { op } = kernel.attrs;
  const tiles = Math.ceil(rows / tile.rows) * columnTiles;
  return launch(features, `scatter ${op} ${kernel.dtype} ${how}`, words, tiles, ({ f, w, tile: number }) => {
    const element = elementsOf(kernel.dtype);
    const firstRow = f.let(i32.mul(i32.div_u(number, w.columnTiles), w.tileRows));
    const endRow = f.let(smaller(i32.add(firstRow, w.tileRows), w.rows));
    const firstColumn = f.let(i32.mul(i32.rem_u(number, w.columnTiles), w.columns));
    const endColumn = f.let(smaller(i32.add(firstColumn, w.columns), w.after));
    const row = f.local("i32");
    const stride = f.let(i32.mul(w.after, element.bytes));
    f.for(row, firstRow, endRow, 1, () => {
      const outer = f.let(i32.div_u(row, w.n)); // batch and before
      const batch = f.let(i32.div_u(outer, w.before));
      const place = f.let(i32.rem_u(row, w.n));
      const { from, until } = segment({ f, w }, how, batch, place);
      const order = how === "lists" ? f.let(at(w.order, i32.mul(batch, w.count), 4)) : undefined;
      const updates = f.let(i32.add(w.updates, i32.mul(i32.mul(outer, w.count), stride)));
      const out = f.let(i32.add(w.out, i32.mul(row, stride)));
      const update = (position: I32): I32 => {
        const number = order ? i32.load(at(order, position, 4)) : position;
        return i32.add(updates, i32.mul(number, stride));
      };
      combineColumns(
        { f, element, op, identity: startOf(op, kernel.dtype) },
        { from, until, update, out, firstColumn, endColumn },
      );
    });
  });
}

const startOf = (op: "add" | "max" | "set", dtype: DType): number => (op === "max" ? identityOf("max", dtype) : 0);

/** The positions of a destination's updates. */
function segment(
  { f, w }: Pick<Context<"starts" | "n">, "f" | "w">,
  how: How,
  batch: I32,
  place: I32,
): { from: Local<"i32">; until: Local<"i32"> } {
  if (how !== "single") {
    const address = f.let(at(w.starts, i32.add(i32.mul(batch, i32.add(w.n, 1)), place), 4));
    return { from: f.let(i32.load(address)), until: f.let(i32.load(address, 4)) };
  }
  const source = f.let(i32.load(at(w.starts, i32.add(i32.mul(batch, w.n), place), 4)));
  return { from: source, until: f.let(select(i32.lt_s(source, 0), source, i32.add(source, 1))) };
}

interface Columns {
  readonly from: Local<"i32">;
  readonly until: Local<"i32">;
  /** The address of the row of the update at a position. */
  readonly update: (position: I32) => I32;
  readonly out: Local<"i32">;
  readonly firstColumn: Local<"i32">;
  readonly endColumn: Local<"i32">;
}

interface Combining {
  readonly f: Context<never>["f"];
  readonly element: Elements;
  readonly op: "add" | "max" | "set";
  readonly identity: number;
}

/** Four vectors at a time, then single elements: running values stay in registers while the updates pass by. */
function combineColumns({ f, element, op, identity }: Combining, c: Columns): void {
  const { vector, bytes } = element;
  const column = f.let(c.firstColumn);
  const position = f.local("i32");
  const wide = 4 * vector.lanes;
  const accs = [0, 1, 2, 3].map(() => f.local("v128"));
  f.while(i32.le_s(i32.add(column, wide), c.endColumn), () => {
    for (const acc of accs) f.set(acc, vector.constant(identity));
    f.for(position, c.from, c.until, 1, () => {
      const address = f.let(at(c.update(position), column, bytes));
      accs.forEach((acc, i) => {
        const x = loadVector(address, 16 * i);
        f.set(acc, op === "set" ? x : op === "add" ? vector.add(acc, x) : vector.max(acc, x));
      });
    });
    const to = f.let(at(c.out, column, bytes));
    accs.forEach((acc, i) => f.do(storeVector(to, acc, 16 * i)));
    f.set(column, i32.add(column, wide));
  });
  const acc = f.local(element.type);
  f.while(i32.lt_s(column, c.endColumn), () => {
    f.set(acc, element.constant(identity));
    f.for(position, c.from, c.until, 1, () => {
      const x = f.let(element.load(at(c.update(position), column, bytes)));
      f.set(acc, op === "set" ? x : op === "add" ? element.add(acc, x) : element.max(acc, x));
    });
    f.do(element.store(at(c.out, column, bytes), acc));
    f.set(column, i32.add(column, 1));
  });
}
