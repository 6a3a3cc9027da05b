import { bidIncrement, bidsPerRow, noValue } from "../../../primitives/assign.ts";
import { i32, memory, select, type Func, type I32, type Local } from "../assembler.ts";
import { at, int, launch, operand, result, smaller, temporary, type Context, type LowerRoutine } from "./routine.ts";

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
  const sold = launch(features, "assign", words, auctions, (context) => {
    const { f, w } = context;
    const market = openMarket(context);
    const [first, row] = [f.local("i32"), f.local("i32")];
    f.for(row, market.real, w.rows, 1, () => f.do(i32.store(at(market.out, row, 4), w.columns)));
    f.for(first, 0, market.real, 1, () => {
      f.set(row, first);
      f.while(i32.ge_s(row, 0), () => f.set(row, outbidBy(context, market, row)));
    });
  });
  return { launches: [sold], temporaries: [auctions * bytes] };
};

type Words = "scores" | "out" | "counts" | "rows" | "columns" | "places" | "bytes" | "work";

/** What is kept for each column beside its places: how many are filled, its price, its lowest bidder. */
const columnArrays = 3;

/** Where an auction's arrays are, and its state. */
interface Market {
  /** How many rows take part. */
  readonly real: Local<"i32">;
  /** Bids so far, and after how many columns that are full take no more. */
  readonly bids: Local<"i32">;
  readonly limit: Local<"i32">;
  readonly roomOf: (column: I32) => I32;
  readonly scores: Local<"i32">;
  readonly out: Local<"i32">;
  /** By column. */
  readonly filled: Local<"i32">;
  readonly prices: Local<"i32">;
  readonly lowest: Local<"i32">;
  /** By place, those of a column side by side. */
  readonly holders: Local<"i32">;
  readonly amounts: Local<"i32">;
}

function openMarket({ f, w, tile }: Context<Words>): Market {
  const columnBytes = f.let(i32.shl(w.columns, 2));
  const filled = f.let(i32.add(w.work, i32.mul(tile, w.bytes)));
  const prices = f.let(i32.add(filled, columnBytes));
  const lowest = f.let(i32.add(prices, columnBytes));
  const holders = f.let(i32.add(lowest, columnBytes));
  const amounts = f.let(i32.add(holders, i32.mul(columnBytes, w.places)));
  const given = f.let(i32.load(at(w.counts, tile, 4)));
  const real = f.let(smaller(select(i32.gt_s(given, 0), given, i32.const(0)), w.rows));
  const least = f.let(i32.div_s(real, w.columns));
  const extra = f.let(i32.sub(real, i32.mul(least, w.columns)));
  const firstRow = f.let(i32.mul(tile, w.rows));
  f.do(memory.fill(filled, i32.const(0), i32.mul(columnBytes, i32.const(columnArrays))));
  return {
    real,
    bids: f.let(i32.const(0)),
    limit: f.let(i32.mul(real, i32.const(bidsPerRow))),
    roomOf: (column) => i32.add(least, i32.lt_s(column, extra)),
    scores: f.let(i32.add(w.scores, i32.mul(firstRow, columnBytes))),
    out: f.let(at(w.out, firstRow, 4)),
    filled,
    prices,
    lowest,
    holders,
    amounts,
  };
}

/** A row's bid. The row that has to go for it, or -1 if there was room. */
function outbidBy({ f, w }: Context<Words>, market: Market, row: Local<"i32">): Local<"i32"> {
  const { bids, roomOf, out, filled, prices, lowest, holders, amounts } = market;
  const { best, second, column } = bestColumn(f, w.columns, market, row);
  f.set(bids, i32.add(bids, 1));
  const margin = select(i32.eq(second, noValue), i32.const(0), i32.sub(best, second));
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
  return outbid;
}

/** The first column of the greatest value, that value, and the greatest of the others. */
function bestColumn(f: Func, columns: Local<"i32">, market: Market, row: Local<"i32">) {
  const { bids, limit, roomOf, scores, filled, prices } = market;
  const scoresOfRow = f.let(at(scores, i32.mul(row, columns), 4));
  const spent = f.let(i32.ge_s(bids, limit));
  const best = f.let(i32.const(noValue));
  const second = f.let(i32.const(noValue));
  const column = f.let(i32.const(0));
  const i = f.local("i32");
  f.for(i, 0, columns, 1, () => {
    const room = f.let(roomOf(i));
    const isOut = i32.or(i32.eqz(room), i32.and(spent, i32.eq(i32.load(at(filled, i, 4)), room)));
    f.if(i32.eqz(isOut), () => {
      const value = f.let(i32.sub(i32.load(at(scoresOfRow, i, 4)), i32.load(at(prices, i, 4))));
      const isBetter = f.let(i32.gt_s(value, best));
      const loser = f.let(select(isBetter, best, value));
      f.set(second, select(i32.gt_s(loser, second), loser, second));
      f.set(column, select(isBetter, i, column));
      f.set(best, select(isBetter, value, best));
    });
  });
  return { best, second, column };
}

/** The first of the lowest bids, of which there is at least one. */
function lowestBid(f: Func, amounts: Local<"i32">, count: Local<"i32">): Local<"i32"> {
  const place = f.let(i32.const(0));
  const least = f.let(i32.load(amounts));
  const i = f.local("i32");
  f.for(i, 1, count, 1, () => {
    const amount = f.let(i32.load(at(amounts, i, 4)));
    f.if(i32.lt_s(amount, least), () => {
      f.set(least, amount);
      f.set(place, i);
    });
  });
  return place;
}
