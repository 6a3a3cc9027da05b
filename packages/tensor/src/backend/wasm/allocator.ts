import { internal } from "../../errors.ts";
import { createFreeLists, roundToClass, type Block, type FreeLists } from "./freeLists.ts";

/**
 * Who writes a new block first. A `program` may take what an earlier program still uses, because programs run in order; the
 * `host` writes now, so its block must be idle.
 */
export type Writer = "program" | "host";

export interface Allocator {
  /** A block of at least that many bytes, or nothing if the space is full. */
  readonly allocate: (bytes: number, writer: Writer) => Block | undefined;
  /** Gives a block back. @param busyUntil the last program that may use it, by sequence number. */
  readonly free: (block: Block, busyUntil: number) => void;
  /** Every program up to this one has finished. */
  readonly settle: (finished: number) => void;
  /** Bytes in free blocks, idle or busy. */
  readonly freeBytes: () => number;
  /** Every block, in order of address. */
  readonly blocks: () => Block[];
}

/**
 * Allocation over one growing address space: constant time per call, neighbours merge when freed, and a request takes from the
 * smallest size class that fits, so that a repeated step finds its own blocks again.
 *
 * @param start where the space begins.
 * @param grow lengthens the space by at least that many bytes and returns its new end, or nothing if it cannot.
 */
export function createAllocator(start: number, grow: (bytes: number) => number | undefined): Allocator {
  const lists = { idle: createFreeLists(), busy: createFreeLists() };
  let first: Block | undefined;
  let last: Block | undefined;
  let end = start;
  let free = 0;
  let settled = 0;

  function find(bytes: number, writer: Writer): Block | undefined {
    const idle = lists.idle.find(bytes);
    if (writer === "host") return idle;
    const busy = lists.busy.find(bytes);
    return busy && idle ? (idle.bytes < busy.bytes ? idle : busy) : (busy ?? idle);
  }

  function allocate(bytes: number, writer: Writer): Block | undefined {
    const size = roundToClass(bytes);
    let block = find(size, writer);
    if (!block && extend(size, writer)) block = find(size, writer);
    if (!block && writer === "program") {
      mergeAll();
      block = find(size, writer);
    }
    return block && take(block, size);
  }

  function take(block: Block, bytes: number): Block {
    unlist(block);
    const rest = block.bytes - bytes;
    if (rest > 0) {
      const tail = newBlock(block.address + bytes, rest, block, block.after);
      if (last === block) last = tail;
      block.bytes = bytes;
      tail.used = false;
      tail.busyUntil = block.busyUntil;
      list(tail);
    }
    block.used = true;
    return block;
  }

  function extend(bytes: number, writer: Writer): boolean {
    const usable = last && !last.used && (last.busyUntil === 0 || writer === "program") ? last : undefined;
    const newEnd = grow(bytes - (usable?.bytes ?? 0));
    if (newEnd === undefined) return false;
    const block = newBlock(end, newEnd - end, last, undefined);
    first ??= block;
    last = block;
    end = newEnd;
    release(block, usable?.busyUntil ?? 0);
    return true;
  }

  /**
   * Puts a block among the free ones, joined with free neighbours. Only with those that are busy as long: else blocks freed step after
   * step would keep each other busy for ever.
   */
  function release(block: Block, busyUntil: number): void {
    let whole = block;
    whole.used = false;
    whole.busyUntil = busyUntil;
    const { before, after } = block;
    if (after && !after.used && after.busyUntil === busyUntil) {
      unlist(after);
      whole = join(whole, after);
    }
    if (before && !before.used && before.busyUntil === busyUntil) {
      unlist(before);
      whole = join(before, whole);
    }
    list(whole);
  }

  function join(left: Block, right: Block): Block {
    left.bytes += right.bytes;
    left.after = right.after;
    if (right.after) right.after.before = left;
    if (last === right) last = left;
    return left;
  }

  /** With no space left: all that is free becomes busy alike, so that a program may span it. */
  function mergeAll(): void {
    const free = [...lists.idle.blocks(), ...lists.busy.blocks()];
    const busyUntil = free.reduce((most, block) => Math.max(most, block.busyUntil), 0);
    for (const block of free) refresh(block, busyUntil);
  }

  function settle(finished: number): void {
    settled = finished;
    for (const block of lists.busy.blocks()) if (block.busyUntil <= finished) refresh(block, 0);
  }

  /** Changes how long a free block is busy. Blocks that were joined meanwhile have changed with the one they joined. */
  function refresh(block: Block, busyUntil: number): void {
    if (block.busyUntil === busyUntil) return;
    unlist(block);
    release(block, busyUntil);
  }

  const listOf = (block: Block): FreeLists => (block.busyUntil > 0 ? lists.busy : lists.idle);

  function list(block: Block): void {
    listOf(block).insert(block);
    free += block.bytes;
  }

  function unlist(block: Block): void {
    listOf(block).remove(block);
    free -= block.bytes;
  }

  return {
    allocate,
    settle,
    free(block, busyUntil) {
      if (!block.used) throw internal(`block ${block.address} was freed twice`);
      release(block, busyUntil > settled ? busyUntil : 0);
    },
    freeBytes: () => free,
    blocks() {
      const all: Block[] = [];
      for (let block = first; block; block = block.after) all.push(block);
      return all;
    },
  };
}

function newBlock(address: number, bytes: number, before: Block | undefined, after: Block | undefined): Block {
  const links = { before, after, previous: undefined, next: undefined };
  const block: Block = { address, bytes, used: true, busyUntil: 0, ...links };
  if (before) before.after = block;
  if (after) after.before = block;
  return block;
}
