/** Loops: over points or lines, moving cursors along, and over the vectors of the lanes. */
import { i32, i32x4, select, v128, type I32, type Local } from "../assembler.ts";
import { at, type Cursor, type Cursors, type Emission, type Window } from "./emission.ts";
import type { Access, Bound, Slot } from "./nest.ts";

export interface Position {
  /** The number of the point or line. */
  readonly index: I32;
  /** By axis. */
  readonly coordinates: readonly I32[];
}

interface Track {
  readonly key: number;
  readonly start: Cursor;
  readonly strides: readonly Slot[];
  readonly bounds: readonly { readonly index: number; readonly bound: Bound }[];
}

function trackOf(key: number, access: Access, of: "points" | "lines", start: Cursor): Track {
  const strides = of === "points" ? access.points : (access.lines ?? []);
  const bounds = access.bounds.flatMap((bound) => (bound.axis.of === of ? [{ index: bound.axis.index, bound }] : []));
  return { key, start, strides, bounds };
}

/**
 * Visits positions `[from, to)` of the points or lines in row-major order with the accesses' cursors there. Coordinates are
 * found by division once per run of the last axis; along it, cursors step.
 */
export function walk(
  e: Emission,
  of: "points" | "lines",
  from: I32,
  to: I32,
  starts: Cursors,
  visit: (cursors: Cursors, position: Position) => void,
): void {
  const { f, word } = e;
  const axes = e.nest[of];
  if (axes.length === 0) return visit(starts, { index: i32.const(0), coordinates: [] });
  const tracks = [...starts].map(([key, start]) => trackOf(key, e.nest.accesses[key], of, start));
  const moving = tracks
    .filter((track) => track.strides.length > 0 && track.bounds.length === 0)
    .map((track) => ({ ...track, cursor: f.local("i32"), step: f.let(word(track.strides.at(-1)!)) }));
  const [index, end, stop] = [f.let(from), f.let(to), f.local("i32")];
  const coordinates = axes.map(() => f.local("i32"));
  f.while(i32.lt_s(index, end), () => {
    decompose(e, axes, index, coordinates);
    const last = coordinates.at(-1)!;
    const run = i32.add(index, i32.sub(word(axes.at(-1)!), last));
    f.set(stop, run);
    f.set(stop, select(i32.lt_s(stop, end), stop, end));
    for (const { start, strides, cursor } of moving) {
      f.set(
        cursor,
        strides.reduce((sum: I32, stride, axis) => at(sum, coordinates[axis], word(stride)), start.at),
      );
    }
    f.loop((again) => {
      const cursors = new Map(starts);
      for (const track of moving) cursors.set(track.key, { ...track.start, at: track.cursor });
      for (const track of tracks)
        if (track.bounds.length > 0) cursors.set(track.key, boundedCursor(e, track, coordinates));
      visit(cursors, { index, coordinates });
      f.set(index, i32.add(index, 1));
      f.set(last, i32.add(last, 1));
      for (const { cursor, step } of moving) f.set(cursor, i32.add(cursor, step));
      f.brIf(again, i32.lt_s(index, stop));
    });
  });
}

function decompose(
  { f, word }: Emission,
  axes: readonly Slot[],
  index: I32,
  coordinates: readonly Local<"i32">[],
): void {
  const rest = f.let(index);
  for (let axis = axes.length - 1; axis > 0; axis--) {
    f.set(coordinates[axis], i32.rem_u(rest, word(axes[axis])));
    f.set(rest, i32.div_u(rest, word(axes[axis])));
  }
  f.set(coordinates[0], rest);
}

/** Outside its bounds a cursor stands on some element that exists, under a mask of zeros. */
function boundedCursor({ f, word }: Emission, { start, strides, bounds }: Track, coordinates: readonly I32[]): Cursor {
  const inside = f.let(i32.const(-1));
  const clamped = [...coordinates];
  for (const { index, bound } of bounds) {
    const from = f.let(word(bound.from));
    const here = f.let(i32.lt_u(i32.sub(coordinates[index], from), word(bound.span)));
    clamped[index] = f.let(select(here, coordinates[index], from));
    f.set(inside, i32.and(inside, i32.sub(0, here)));
  }
  const place = f.let(strides.reduce((sum: I32, stride, axis) => at(sum, clamped[axis], word(stride)), start.at));
  const own = i32x4.splat(inside);
  return { at: place, mask: f.let(start.mask ? v128.and(own, start.mask) : own) };
}

/** Visits the elements `[from, to)` along the lanes: `unroll` vectors at a time, then single ones, then what is left. */
export function walkLanes(e: Emission, from: I32, to: I32, vectors: number, visit: (window: Window) => void): void {
  const { f, nest } = e;
  const { width } = nest;
  const v = f.let(from);
  const end = f.let(to);
  const window = (unroll: number): Window => ({
    unroll,
    v,
    to: end,
    bytes: { 4: f.let(i32.shl(v, 2)), 8: f.let(i32.shl(v, 3)) },
  });
  for (const unroll of new Set([vectors, 1])) {
    const limit = f.let(i32.sub(end, unroll * width - 1));
    f.while(i32.lt_s(v, limit), () => {
      visit(window(unroll));
      f.set(v, i32.add(v, unroll * width));
    });
  }
  f.if(i32.lt_s(v, end), () => {
    const count = f.let(i32.sub(end, v));
    const last = f.let(i32.sub(count, 1));
    const lanes = Array.from({ length: width }, (_, lane) =>
      lane === 0 ? i32.const(0) : f.let(select(i32.lt_s(last, lane), last, i32.const(lane))),
    );
    const mask = f.let(i32x4.lt_s(e.ramp, i32x4.splat(count)));
    visit({ ...window(1), rest: { count, lanes, mask } });
  });
}
