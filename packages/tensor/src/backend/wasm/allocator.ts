import { internal } from "../../errors.ts";
import { createFreeLists, roundToClass, type Block } from "./freeLists.ts";

/**
 * Who writes a new block first. A `program` may take what an earlier program still uses, because programs run in order; the
 * `host` writes now, so its block must be idle.
 */
export type Writer = "program" | "host";

export interface Allocator {
  /** A block of at least that many bytes, or nothing if the space is full. */
  allocate(bytes: number, writer: Writer): Block | undefined;
  /** Gives a block back. @param busyUntil the last program that may use it, by sequence number. */
  free(block: Block, busyUntil: number): void;
  /** Every program up to this one has finished. */
  settle(finished: number): void;
  /** Bytes in free blocks, idle or busy. */
  freeBytes(): number;
  /** Every block, in order of address. */
  blocks(): Block[];
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
    if (!block) {
      if (writer === "program") mergeAll();
      else settle(settled);
      block = find(size, writer);
    }
    return block && take(block, size);
  }

  function take(block: Block, bytes: number): Block {
    unlist(block);
    const rest = block.bytes - bytes;
    if (rest > 0) {
      const tail = newBlock(block.address + bytes, rest, block.state, block.busyUntil, block, block.after);
      if (last === block) last = tail;
      block.bytes = bytes;
      list(tail);
    }
    block.state = "used";
    return block;
  }

  function extend(bytes: number, writer: Writer): boolean {
    const usable = last && (last.state === "idle" || (last.state === "busy" && writer === "program"));
    const newEnd = grow(bytes - (usable ? last!.bytes : 0));
    if (newEnd === undefined) return false;
    const state = usable ? last!.state : "idle";
    const block = newBlock(end, newEnd - end, "used", usable ? last!.busyUntil : 0, last, undefined);
    first ??= block;
    last = block;
    end = newEnd;
    release(block, state === "busy" ? "busy" : "idle");
    return true;
  }

  /** Puts a block among the free ones of a state, joined with the neighbours of that state. */
  function release(block: Block, state: "idle" | "busy"): void {
    let whole = block;
    whole.state = state;
    const { before, after } = block;
    if (after?.state === state) {
      unlist(after);
      whole = join(whole, after);
    }
    if (before?.state === state) {
      unlist(before);
      whole = join(before, whole);
    }
    list(whole);
  }

  function join(left: Block, right: Block): Block {
    left.bytes += right.bytes;
    left.busyUntil = Math.max(left.busyUntil, right.busyUntil);
    left.after = right.after;
    if (right.after) right.after.before = left;
    if (last === right) last = left;
    return left;
  }

  /** With no space left: what is idle joins what is busy, so that a program may span both. */
  function mergeAll(): void {
    for (const block of lists.idle.blocks()) {
      unlist(block);
      release(block, "busy");
    }
  }

  function settle(finished: number): void {
    settled = finished;
    for (const block of lists.busy.blocks()) {
      if (block.busyUntil > finished) continue;
      unlist(block);
      block.busyUntil = 0;
      release(block, "idle");
    }
  }

  function list(block: Block): void {
    lists[block.state === "busy" ? "busy" : "idle"].insert(block);
    free += block.bytes;
  }

  function unlist(block: Block): void {
    lists[block.state === "busy" ? "busy" : "idle"].remove(block);
    free -= block.bytes;
  }

  return {
    allocate,
    settle,
    free(block, busyUntil) {
      if (block.state !== "used") throw internal(`block ${block.address} was freed twice`);
      block.busyUntil = busyUntil;
      release(block, busyUntil > settled ? "busy" : "idle");
    },
    freeBytes: () => free,
    blocks() {
      const all: Block[] = [];
      for (let block = first; block; block = block.after) all.push(block);
      return all;
    },
  };
}

function newBlock(
  address: number,
  bytes: number,
  state: Block["state"],
  busyUntil: number,
  before: Block | undefined,
  after: Block | undefined,
): Block {
  const block: Block = { address, bytes, state, busyUntil, before, after, previous: undefined, next: undefined };
  if (before) before.after = block;
  if (after) after.before = block;
  return block;
}
