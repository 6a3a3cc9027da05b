import type { Operand } from "../../../schedule/plan.ts";
import { i32, memory, type Expr, type Func, type I32, type Local } from "../assembler.ts";
import type { Features } from "../features.ts";
import { scratchBytes, type Launch, type Lowered, type Word } from "../launch.ts";
import { keysOf, type Keys } from "./keys.ts";
import { at, eachItem, int, launch, operand, rowsOf, shares, temporary } from "./routine.ts";

/** Rows up to this length are sorted by insertion: clearing a radix's counters would take longer. */
const shortRow = 32;

/** Counters of one 8-bit digit, in bytes. */
const digitBytes = 256 * 4;

/** With more rows than this that need a temporary, rows take turns in it. */
const mostTurns = 16;

/**
 * The first `take` of each row's indices in the order of its keys, stably: a radix sort from the lowest digit. A digit that is the
 * same in the whole row costs nothing, so small integers (experts, tokens) take one pass: a counting sort.
 */
export function sortRows(
  features: Features,
  { x, out, take, descending }: { x: Operand; out: Word; take: number; descending: boolean },
): Lowered {
  const { rows, length } = rowsOf(x);
  const keys = keysOf(x.dtype, descending);
  const rowBytes = keys.bytes * digitBytes + length * (2 * keys.bytes + 8);
  const inScratch = rowBytes <= scratchBytes;
  const { share } = shares(rows, 8 * length);
  const turns = inScratch ? share : Math.max(share, Math.ceil(rows / mostTurns));
  const tiles = Math.ceil(rows / turns);
  const words = {
    x: operand(x),
    out,
    length: int(length),
    take: int(take),
    items: int(rows),
    share: int(turns),
    rowBytes: int(rowBytes),
    work: inScratch ? undefined : temporary(0),
  };
  const name = `sort ${x.dtype} ${descending} ${inScratch}`;
  const sorted: Launch = launch(features, name, words, tiles, (context) => {
    const { f, w, tile, scratch } = context;
    const work = inScratch ? scratch : f.let(i32.add(w.work, i32.mul(tile, w.rowBytes)));
    const pairs = pairsIn(f, keys, work, w.length);
    eachItem(context, w, (row) => {
      loadPairs(f, keys, pairs, f.let(at(w.x, i32.mul(row, w.length), keys.bytes)), w.length);
      f.if(
        i32.le_s(w.length, shortRow),
        () => insertionSort(f, keys, pairs, w.length),
        () => radixSort(f, keys, pairs, work, w.length),
      );
      f.do(memory.copy(at(w.out, i32.mul(row, w.take), 4), pairs.places, i32.shl(w.take, 2)));
    });
  });
  return { launches: [sorted], temporaries: inScratch ? [] : [tiles * rowBytes] };
}

/** Keys with the indices they came from, and room for a second copy. */
interface Pairs {
  readonly keys: Local<"i32">;
  readonly places: Local<"i32">;
  readonly otherKeys: Local<"i32">;
  readonly otherPlaces: Local<"i32">;
}

/** After the counters: keys, other keys, places, other places. */
function pairsIn(f: Func, { bytes }: Keys, work: I32, length: I32): Pairs {
  const keys = f.let(i32.add(work, bytes * digitBytes));
  const otherKeys = f.let(at(keys, length, bytes));
  const places = f.let(at(otherKeys, length, bytes));
  return { keys, otherKeys, places, otherPlaces: f.let(at(places, length, 4)) };
}

function loadPairs(f: Func, k: Keys, { keys, places }: Pairs, row: I32, length: I32): void {
  const i = f.local("i32");
  f.for(i, 0, length, 1, () => {
    f.do(k.storeKey(at(keys, i, k.bytes), k.load(f, f.let(at(row, i, k.bytes)))));
    f.do(i32.store(at(places, i, 4), i));
  });
}

/**
 * Moves a pair down to its place among the sorted ones before position `hole`.
 *
 * @param hole where the search starts; changed.
 */
export function insert(
  f: Func,
  k: Keys,
  { keys, places }: { keys: I32; places: I32 },
  hole: Local<"i32">,
  key: Expr,
  place: I32,
): void {
  f.block((found) => {
    f.loop((again) => {
      f.brIf(found, i32.eqz(hole));
      const below = f.let(i32.sub(hole, 1));
      const other = f.let(k.loadKey(at(keys, below, k.bytes)));
      f.brIf(found, i32.eqz(k.less(key as Expr<Keys["type"]>, other)));
      f.do(k.storeKey(at(keys, hole, k.bytes), other));
      f.do(i32.store(at(places, hole, 4), i32.load(at(places, below, 4))));
      f.set(hole, below);
      f.br(again);
    });
  });
  f.do(k.storeKey(at(keys, hole, k.bytes), key as Expr<Keys["type"]>));
  f.do(i32.store(at(places, hole, 4), place));
}

function insertionSort(f: Func, k: Keys, pairs: Pairs, length: I32): void {
  const i = f.local("i32");
  const hole = f.local("i32");
  f.for(i, 1, length, 1, () => {
    f.set(hole, i);
    insert(f, k, pairs, hole, f.let(k.loadKey(at(pairs.keys, i, k.bytes))), i);
  });
}

function radixSort(f: Func, k: Keys, pairs: Pairs, counters: I32, length: I32): void {
  f.do(memory.fill(counters, 0, k.bytes * digitBytes));
  const digits = Array.from({ length: k.bytes }, (_, digit) => digit);
  const i = f.local("i32");
  const highest = k.bytes - 1;
  f.for(i, 0, length, 1, () => {
    const key = f.let(k.loadKey(at(pairs.keys, i, k.bytes)));
    for (const digit of digits) {
      const value = k.digit(key, i32.const(8 * digit), i32.const(Number(digit === highest)));
      const counter = f.let(i32.add(at(counters, value, 4), digit * digitBytes));
      f.do(i32.store(counter, i32.add(i32.load(counter), 1)));
    }
  });
  const digit = f.local("i32");
  f.for(digit, 0, k.bytes, 1, () => {
    const digitOf = (key: Expr<Keys["type"]>): I32 => k.digit(key, i32.shl(digit, 3), i32.eq(digit, highest));
    const mine = f.let(i32.add(counters, i32.mul(digit, digitBytes)));
    const first = at(mine, digitOf(k.loadKey(pairs.keys)), 4);
    f.if(i32.ne(i32.load(first), length), () => {
      countsToStarts(f, mine);
      moveByDigit(f, k, pairs, mine, digitOf, length);
    });
  });
}

/** How many have each digit becomes where the first of them goes. */
function countsToStarts(f: Func, counters: I32): void {
  const sum = f.let(i32.const(0));
  const counter = f.local("i32");
  f.for(counter, 0, digitBytes, 4, () => {
    const address = f.let(i32.add(counters, counter));
    const count = f.let(i32.load(address));
    f.do(i32.store(address, sum));
    f.set(sum, i32.add(sum, count));
  });
}

function moveByDigit(
  f: Func,
  k: Keys,
  pairs: Pairs,
  counters: I32,
  digitOf: (key: Expr<Keys["type"]>) => I32,
  length: I32,
): void {
  const i = f.local("i32");
  f.for(i, 0, length, 1, () => {
    const key = f.let(k.loadKey(at(pairs.keys, i, k.bytes)));
    const counter = f.let(at(counters, digitOf(key), 4));
    const to = f.let(i32.load(counter));
    f.do(i32.store(counter, i32.add(to, 1)));
    f.do(k.storeKey(at(pairs.otherKeys, to, k.bytes), key));
    f.do(i32.store(at(pairs.otherPlaces, to, 4), i32.load(at(pairs.places, i, 4))));
  });
  swap(f, pairs.keys, pairs.otherKeys);
  swap(f, pairs.places, pairs.otherPlaces);
}

function swap(f: Func, a: Local<"i32">, b: Local<"i32">): void {
  const old = f.let(a);
  f.set(a, b);
  f.set(b, old);
}
