/** The words of an argument block, and the views that a nest reads and writes through. */
import type { View } from "../../../schedule/plan.ts";
import { deviceBytes, type DType } from "../../../types.ts";
import type { Word } from "../launch.ts";
import type { Access, Bound, Slot } from "./nest.ts";
import type { Space, SpaceView } from "./space.ts";

export interface Words {
  readonly list: Word[];
  readonly int: (value: number) => Slot;
  /** A word that takes `size` 32-bit words. */
  readonly add: (word: Word, size?: number) => Slot;
}

export function wordList(): Words {
  const list: Word[] = [];
  let size = 0;
  const add = (word: Word, words = 1): Slot => {
    list.push(word);
    size += words;
    return size - words;
  };
  return { list, add, int: (value) => add({ kind: "int", value }) };
}

export interface AccessTable {
  readonly accesses: Access[];
  /** The access of a view; `undefined` if it holds no element anywhere. */
  readonly memory: (buffer: number, dtype: DType, view: View) => number | undefined;
  readonly coordinate: (view: View) => number | undefined;
  readonly inside: (bounds: NonNullable<View["bounds"]>) => number | undefined;
}

export function accessTable(space: Space, words: Words, lanes: "outer" | "row", pointRank: number): AccessTable {
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
