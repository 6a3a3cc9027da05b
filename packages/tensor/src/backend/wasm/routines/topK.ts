import { i32, i32x4, memory, v128, type I32, type Local } from "../assembler.ts";
import { keysOf, vectorKeys } from "./keys.ts";
import { at, eachItem, int, launch, operand, result, rowsOf, shares, type LowerRoutine } from "./routine.ts";
import { insert, sortRows } from "./sort.ts";

/** Beyond this, sorting the whole row is quicker than keeping the best in order. */
const smallK = 64;

/** The best `k` so far of each row, kept in order in scratch: most elements lose against the last of them at once. */
export const topK: LowerRoutine<"topK"> = (kernel, _, features) => {
  const [x] = kernel.operands;
  const { k } = kernel.attrs;
  const { rows, length } = rowsOf(x);
  const out = result(kernel);
  if (k === 0) return { launches: [], temporaries: [] };
  if (k > smallK) return sortRows(features, { x, out, take: k, descending: true });
  const keys = keysOf(x.dtype, true);
  const { tiles, share } = shares(rows, 4 * length);
  const words = { x: operand(x), out, length: int(length), k: int(k), items: int(rows), share: int(share) };
  const kept = launch(features, `topK ${x.dtype}`, words, tiles, (context) => {
    const { f, w, scratch } = context;
    const best = { keys: scratch, places: f.let(i32.add(scratch, smallK * keys.bytes)) };
    const lastKept = f.let(i32.sub(w.k, 1));
    const worst = f.local(keys.type);
    const hole = f.local("i32");
    const i = f.local("i32");
    eachItem(context, w, (row) => {
      const start = f.let(at(w.x, i32.mul(row, w.length), keys.bytes));
      const step = (): void => {
        const key = f.let(keys.load(f, f.let(at(start, i, keys.bytes))));
        f.if(i32.or(i32.lt_s(i, w.k), keys.less(key, worst)), () => {
          f.set(hole, i);
          f.if(i32.gt_s(hole, lastKept), () => f.set(hole, lastKept));
          insert(f, keys, best, hole, key, i);
          f.set(worst, keys.loadKey(at(best.keys, lastKept, keys.bytes)));
        });
        f.set(i, i32.add(i, 1));
      };
      f.set(i, i32.const(0));
      f.while(i32.lt_s(i, w.k), step);
      f.while(i32.lt_s(i, w.length), () => {
        if (keys.bytes === 8) step();
        else {
          const better = (): I32 =>
            v128.any_true(
              i32x4.lt_s(vectorKeys(f, x.dtype, true, f.let(at(start, i, 4))), i32x4.splat(worst as Local<"i32">)),
            );
          const whole = i32.le_s(i32.add(i, 4), w.length);
          f.if(whole, () => f.if(better(), step, () => f.set(i, i32.add(i, 4))), step);
        }
      });
      f.do(memory.copy(at(w.out, i32.mul(row, w.k), 4), best.places, i32.shl(w.k, 2)));
    });
  });
  return { launches: [kept], temporaries: [] };
};
