import { granule } from "./freeLists.ts";

/** Scratch that is needed from one step of a plan to another, both included. */
export interface Interval {
  readonly from: number;
  readonly until: number;
  readonly bytes: number;
}

/**
 * Places intervals in one arena so that no two that live together overlap: the largest first, each in the tightest gap among those it
 * meets (greedy by size; Pisarchyk and Lee, "Efficient memory management for deep neural net inference", 2020).
 *
 * @returns an offset for each, and the bytes of the whole.
 */
export function planArena(intervals: readonly Interval[]): { offsets: number[]; bytes: number } {
  const offsets = new Array<number>(intervals.length).fill(0);
  const placed: Placed[] = [];
  let total = 0;
  const order = [...intervals.keys()].toSorted((a, b) => intervals[b].bytes - intervals[a].bytes || a - b);
  for (const i of order) {
    const { from, until } = intervals[i];
    const bytes = Math.ceil(intervals[i].bytes / granule) * granule;
    const offset = tightestGap(placed, from, until, bytes);
    insertByOffset(placed, { from, until, offset, end: offset + bytes });
    offsets[i] = offset;
    total = Math.max(total, offset + bytes);
  }
  return { offsets, bytes: total };
}

interface Placed {
  readonly from: number;
  readonly until: number;
  readonly offset: number;
  readonly end: number;
}

function tightestGap(placed: readonly Placed[], from: number, until: number, bytes: number): number {
  let best = -1;
  let smallest = Infinity;
  let end = 0;
  for (const other of placed) {
    if (other.until < from || other.from > until) continue;
    const gap = other.offset - end;
    if (gap >= bytes && gap < smallest) {
      best = end;
      smallest = gap;
    }
    end = Math.max(end, other.end);
  }
  return best < 0 ? end : best;
}

function insertByOffset(placed: Placed[], one: Placed): void {
  let [low, high] = [0, placed.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (placed[middle].offset < one.offset) low = middle + 1;
    else high = middle;
  }
  placed.splice(low, 0, one);
}
