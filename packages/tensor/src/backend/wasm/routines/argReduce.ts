import { i32, i32x4, select, v128, type I32, type Local, type V128 } from "../assembler.ts";
import { keysOf, vectorKeys } from "./keys.ts";
import {
  at,
  eachItem,
  int,
  launch,
  operand,
  result,
  rowsOf,
  shares,
  type Context,
  type LowerRoutine,
} from "./routine.ts";

/** Rows in parallel, each by its keys: the first greatest one. Four lanes at a time where keys have 32 bits. */
export const argReduce: LowerRoutine<"argReduce"> = (kernel, _, features) => {
  const [x] = kernel.operands;
  const { rows, length } = rowsOf(x);
  const { tiles, share } = shares(rows, length);
  const descending = kernel.attrs.op === "min";
  const words = { x: operand(x), out: result(kernel), length: int(length), items: int(rows), share: int(share) };
  const name = `argReduce ${kernel.attrs.op} ${x.dtype}`;
  const reduced = launch(features, name, words, tiles, (context) => {
    const { f, w } = context;
    const keys = keysOf(x.dtype, descending);
    const best = f.local(keys.type);
    const where = f.local("i32");
    const i = f.local("i32");
    eachItem(context, w, (row) => {
      const start = f.let(at(w.x, i32.mul(row, w.length), keys.bytes));
      f.set(where, i32.const(0));
      f.set(i, i32.const(0));
      f.set(best, keys.load(f, start));
      if (keys.bytes === 4) {
        f.if(i32.ge_s(w.length, 8), () => {
          firstGreatest(context, start, (address) => vectorKeys(f, x.dtype, descending, address), {
            best,
            where,
          } as Found);
          f.set(i, i32.and(w.length, -4));
        });
      }
      f.while(i32.lt_s(i, w.length), () => {
        const key = f.let(keys.load(f, f.let(at(start, i, keys.bytes))));
        f.if(keys.less(best, key), () => {
          f.set(best, key);
          f.set(where, i);
        });
        f.set(i, i32.add(i, 1));
      });
      f.do(i32.store(at(w.out, row, 4), where));
    });
  });
  return { launches: [reduced], temporaries: [] };
};

interface Found {
  readonly best: Local<"i32">;
  readonly where: Local<"i32">;
}

/** The first greatest key of the whole vectors of a row: each lane keeps its own, then the lanes meet. */
function firstGreatest(
  { f, w }: Pick<Context<"length">, "f" | "w">,
  start: I32,
  load: (address: I32) => V128,
  { best, where }: Found,
): void {
  const i = f.local("i32");
  const keys = f.let(load(start));
  const places = f.let(i32x4.const(0));
  const here = f.let(i32x4.const(0));
  lanes.forEach((lane) => f.set(here, i32x4.replace(here, lane, lane)));
  f.set(places, here);
  f.for(i, 4, i32.and(w.length, -4), 4, () => {
    f.set(here, i32x4.add(here, 4));
    const next = f.let(load(f.let(at(start, i, 4))));
    const better = f.let(i32x4.gt_s(next, keys));
    f.set(keys, v128.bitselect(next, keys, better));
    f.set(places, v128.bitselect(here, places, better));
  });
  f.set(best, i32x4.extract(keys, 0));
  f.set(where, i32x4.extract(places, 0));
  for (const lane of lanes.slice(1)) {
    const key = f.let(i32x4.extract(keys, lane));
    const place = f.let(i32x4.extract(places, lane));
    const earlier = i32.and(i32.eq(key, best), i32.lt_s(place, where));
    const wins = f.let(i32.or(i32.gt_s(key, best), earlier));
    f.set(best, select(wins, key, best));
    f.set(where, select(wins, place, where));
  }
}

const lanes = [0, 1, 2, 3];
