import { bidIncrement, bidsPerRow, noValue } from "../../../primitives/assign.ts";
import { i32, memory, select, type Func, type I32, type Local } from "../assembler.ts";
import { at, int, launch, operand, result, smaller, temporary, type LowerRoutine } from "./routine.ts";

/** One thread to an auction: each bid depends on all before it. */
export const assign: LowerRoutine<"assign"> = (kernel, _, features) => {
  const [scores, count] = kernel.operands;
  const [rows, columns] = scores.shape.slice(-2);
  const auctions = rows === 0 ? 0 : scores.shape.slice(0, -2).reduce((product, extent) => product * extent, 1);
  if (auctions === 0) return { launches: [], temporaries: [] };
  const places = Math.ceil(rows / columns);
  const bytes = 4 * columns * (columnArrays + 2 * places);
  const words = {
    scores: operand(scores),
    out: result(kernel),
    counts: operand(count),
    rows: int(rows),
    columns: int(columns),
    places: int(places),
    bytes: int(bytes),
    work: temporary(0),
  };
  const sold = launch(features, "assign", words, auctions, ({ f, w, tile }) => {
    const columnBytes = f.let(i32.shl(w.columns, 2));
    const filled = f.let(i32.add(w.work, i32.mul(tile, w.bytes)));
    const prices = f.let(i32.add(filled, columnBytes));
    const lowest = f.let(i32.add(prices, columnBytes));
    const holders = f.let(i32.add(lowest, columnBytes));
    const amounts = f.let(i32.add(holders, i32.mul(columnBytes, w.places)));
    const matrix = f.let(i32.add(w.scores, i32.mul(i32.mul(tile, w.rows), columnBytes)));
    const out = f.let(at(w.out, i32.mul(tile, w.rows), 4));
    const given = f.let(i32.load(at(w.counts, tile, 4)));
    const real = f.let(smaller(select(i32.gt_s(given, 0), given, i32.const(0)), w.rows));
    const least = f.let(i32.div_s(real, w.columns));
    const extra = f.let(i32.sub(real, i32.mul(least, w.columns)));
    const limit = f.let(i32.mul(real, i32.const(bidsPerRow)));
    const roomOf = (column: I32): I32 => i32.add(least, i32.lt_s(column, extra));
    const bids = f.local("i32");
    const first = f.local("i32");
    const row = f.local("i32");
    f.do(memory.fill(filled, i32.const(0), i32.mul(columnBytes, i32.const(columnArrays))));
    f.set(bids, i32.const(0));
    f.for(row, real, w.rows, 1, () => f.do(i32.store(at(out, row, 4), w.columns)));
    f.for(first, 0, real, 1, () => {
      f.set(row, first);
      f.while(i32.ge_s(row, 0), () => {
        const scoresOfRow = f.let(i32.add(matrix, i32.mul(row, columnBytes)));
        const spent = f.let(i32.ge_s(bids, limit));
        f.set(bids, i32.add(bids, 1));
        const chosen = bestColumn(f, w.columns, { filled, prices, scoresOfRow, spent, roomOf });
        const column = chosen.place;
        const margin = select(i32.eq(chosen.second, noValue), i32.const(0), i32.sub(chosen.best, chosen.second));
        const amount = f.let(i32.add(i32.add(i32.load(at(prices, column, 4)), margin), bidIncrement));
        const count = f.let(i32.load(at(filled, column, 4)));
        const isFull = f.let(i32.eq(count, roomOf(column)));
        const start = f.let(i32.mul(column, w.places));
        const place = f.let(i32.add(start, select(isFull, i32.load(at(lowest, column, 4)), count)));
        const outbid = f.let(select(isFull, i32.load(at(holders, place, 4)), i32.const(-1)));
        f.do(i32.store(at(holders, place, 4), row));
        f.do(i32.store(at(amounts, place, 4), amount));
        f.do(i32.store(at(out, row, 4), column));
        f.do(i32.store(at(filled, column, 4), i32.add(count, i32.eqz(isFull))));
        f.if(i32.eq(i32.load(at(filled, column, 4)), roomOf(column)), () => {
          const cheapest = lowestBid(f, f.let(at(amounts, start, 4)), f.let(roomOf(column)));
          f.do(i32.store(at(lowest, column, 4), cheapest));
          f.do(i32.store(at(prices, column, 4), i32.load(at(amounts, i32.add(start, cheapest), 4))));
        });
        f.set(row, outbid);
      });
    });
  });
  return { launches: [sold], temporaries: [auctions * bytes] };
};

/** What is kept for each column beside its places: how many are filled, its price, its lowest bidder. */
const columnArrays = 3;

interface Market {
  readonly filled: I32;
  readonly prices: I32;
  readonly scoresOfRow: I32;
  /** Whether columns that are full take no more. */
  readonly spent: I32;
  readonly roomOf: (column: I32) => I32;
}

/** The first column of the greatest value, that value, and the greatest of the others. */
function bestColumn(f: Func, columns: I32 & Local<"i32">, { filled, prices, scoresOfRow, spent, roomOf }: Market) {
  const best = f.local("i32");
  const second = f.local("i32");
  const place = f.local("i32");
  const column = f.local("i32");
  f.set(best, i32.const(noValue));
  f.set(second, i32.const(noValue));
  f.set(place, i32.const(0));
  f.for(column, 0, columns, 1, () => {
    const room = f.let(roomOf(column));
    const isOut = i32.or(i32.eqz(room), i32.and(spent, i32.eq(i32.load(at(filled, column, 4)), room)));
    f.if(i32.eqz(isOut), () => {
      const value = f.let(i32.sub(i32.load(at(scoresOfRow, column, 4)), i32.load(at(prices, column, 4))));
      const isBetter = f.let(i32.gt_s(value, best));
      const loser = f.let(select(isBetter, best, value));
      f.set(second, select(i32.gt_s(loser, second), loser, second));
      f.set(place, select(isBetter, column, place));
      f.set(best, select(isBetter, value, best));
    });
  });
  return { best, second, place };
}

/** The first of the lowest bids, of which there is at least one. */
function lowestBid(f: Func, amounts: Local<"i32">, count: Local<"i32">): Local<"i32"> {
  const place = f.local("i32");
  const least = f.local("i32");
  const i = f.local("i32");
  f.set(place, i32.const(0));
  f.set(least, i32.load(amounts));
  f.for(i, 1, count, 1, () => {
    const amount = f.let(i32.load(at(amounts, i, 4)));
    f.if(i32.lt_s(amount, least), () => {
      f.set(least, amount);
      f.set(place, i);
    });
  });
  return place;
}
