import { DTypeError, ShapeError } from "../errors.ts";
import { describe, sameShape } from "../shape.ts";
import { plainKey, type Primitive } from "./primitive.ts";

/** The range of scores, `0..scoreRange`: wide enough to tell them apart, narrow enough that prices stay within 32 bits. */
export const scoreRange = 2 ** 18;

/** What a bid adds to the least that would win: an assignment's mean score is within this of the best there is, unless bids run out. */
export const bidIncrement = scoreRange / 256;

/** Bids of each row, on average, after which rows take what is free. */
export const bidsPerRow = 128;

/** Neither a score less its price nor a bid is ever as low. */
export const noValue = -(2 ** 31);

/**
 * Shares rows out to columns so that their scores add up to much and each column gets as many as any other: of T rows and E columns the first
 * `T mod E` get `ceil(T / E)`, the others `floor(T / E)`. An auction in integers, so that every device gives the same: row by row,
 * each bids for the column whose score less price is greatest (of equals the lowest), just so much that the next best would be as
 * good, and a bit more. A column that is full lets its lowest bidder go (of equals the first to come), who bids next, and its price is the
 * lowest bid that it holds. Of each matrix the first `count` rows take part; the others get the column after the last. When `bidsPerRow · T` bids are spent, columns that are full take no more.
 *
 * Source: Bertsekas 1988, "The Auction Algorithm", with columns of several places.
 */
export const assign: Primitive<object> = {
  infer: ([scores, count]) => {
    const { shape, dtype } = scores;
    if (dtype !== "i32" || count.dtype !== "i32")
      throw new DTypeError(`assign: takes scores and counts as i32 (got ${describe(scores)}, ${describe(count)})`);
    if (shape.length < 2 || (shape[shape.length - 1] === 0 && shape[shape.length - 2] > 0))
      throw new ShapeError(`assign: takes [rows, columns] with at least one column (got ${describe(scores)})`);
    if (!sameShape(count.shape, shape.slice(0, -2)))
      throw new ShapeError(`assign: takes a count for each matrix (got ${describe(scores)}, ${describe(count)})`);
    return { shape: shape.slice(0, -1), dtype: "i32" };
  },
  reference: (out, [{ data, shape }, count]) => {
    const [rows, columns] = shape.slice(-2);
    out.data.fill(columns);
    count.data.forEach((real, i) => {
      const first = i * rows;
      const score = (row: number, column: number): number => data[(first + row) * columns + column];
      auction(Math.min(Math.max(real, 0), rows), columns, score).forEach((held, column) =>
        held.forEach(({ row }) => (out.data[first + row] = column)),
      );
    });
  },
  key: plainKey,
};

interface Bid {
  readonly row: number;
  readonly amount: number;
}

/** What each column holds in the end. */
function auction(rows: number, columns: number, score: (row: number, column: number) => number): Bid[][] {
  const held = Array.from({ length: columns }, (): Bid[] => []);
  const isFull = (column: number): boolean =>
    held[column].length === Math.floor(rows / columns) + Number(column < rows % columns);
  const lowest = (column: number): number =>
    held[column].reduce((least, { amount }, i) => (amount < held[column][least].amount ? i : least), 0);
  const price = (column: number): number => (isFull(column) ? (held[column][lowest(column)]?.amount ?? Infinity) : 0); // a column without places has no price
  let bids = 0;
  for (let first = 0; first < rows; first++) {
    let row = first;
    for (;;) {
      const spent = bids++ >= bidsPerRow * rows;
      const values = held.map((_, column) =>
        spent && isFull(column) ? -Infinity : score(row, column) - price(column),
      );
      const best = values.indexOf(Math.max(...values));
      const others = values.toSpliced(best, 1).filter(Number.isFinite);
      const amount = score(row, best) - (others.length === 0 ? values[best] : Math.max(...others)) + bidIncrement;
      if (!isFull(best)) {
        held[best].push({ row, amount });
        break;
      }
      const at = lowest(best);
      const outbid = held[best][at].row;
      held[best][at] = { row, amount };
      row = outbid;
    }
  }
  return held;
}
