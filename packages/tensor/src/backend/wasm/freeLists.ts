/**
 * Free blocks by size class, after TLSF (Masmano et al., "TLSF: a new dynamic memory allocator for real-time systems", 2004):
 * 32 classes to each doubling of the size, a list for each, and bitmaps that find the next class with a block in it.
 */

/** All addresses and sizes are multiples of this: a cache line, so that no two buffers share one. */
export const granule = 64;

/** A run of bytes, in use or free; its neighbours in the memory, and in its list while it is free. */
export interface Block {
  readonly address: number;
  bytes: number;
  used: boolean;
  /** Of a free block: the last program in flight that may still use it, by sequence number; 0 if none does. */
  busyUntil: number;
  before: Block | undefined;
  after: Block | undefined;
  previous: Block | undefined;
  next: Block | undefined;
}

const subdivisions = 32;

/** The class of a size in granules. Each size class holds the sizes from its own least size up to the next one's. */
function classOf(units: number): number {
  if (units < subdivisions) return units;
  const doubling = 31 - Math.clz32(units);
  return (doubling - 4) * subdivisions + ((units >>> (doubling - 5)) & (subdivisions - 1));
}

/** The least size of a class that is no smaller: at most 1/32 is lost, and a block freed serves the next request of its size. */
export function roundToClass(bytes: number): number {
  const units = Math.max(1, Math.ceil(bytes / granule));
  if (units < subdivisions) return units * granule;
  const step = 2 ** (26 - Math.clz32(units));
  return Math.ceil(units / step) * step * granule;
}

export interface FreeLists {
  insert(block: Block): void;
  remove(block: Block): void;
  /** A block of at least that many bytes from the smallest class that has one, still in its list. */
  find(bytes: number): Block | undefined;
  blocks(): Block[];
}

export function createFreeLists(): FreeLists {
  const heads: (Block | undefined)[] = [];
  const occupied = new Int32Array(32);
  let doublings = 0;

  function insert(block: Block): void {
    const at = classOf(block.bytes / granule);
    block.previous = undefined;
    block.next = heads[at];
    if (block.next) block.next.previous = block;
    heads[at] = block;
    occupied[at >>> 5] |= 1 << (at & 31);
    doublings |= 1 << (at >>> 5);
  }

  function remove(block: Block): void {
    if (block.next) block.next.previous = block.previous;
    if (block.previous) return void (block.previous.next = block.next);
    const at = classOf(block.bytes / granule);
    heads[at] = block.next;
    if (block.next) return;
    occupied[at >>> 5] &= ~(1 << (at & 31));
    if (occupied[at >>> 5] === 0) doublings &= ~(1 << (at >>> 5));
  }

  function find(bytes: number): Block | undefined {
    const at = classOf(bytes / granule);
    const row = at >>> 5;
    const here = occupied[row] & (-1 << (at & 31));
    if (here !== 0) return heads[row * 32 + lowestBit(here)];
    const above = row === 31 ? 0 : doublings & (-1 << (row + 1));
    if (above === 0) return undefined;
    const next = lowestBit(above);
    return heads[next * 32 + lowestBit(occupied[next])];
  }

  function blocks(): Block[] {
    const all: Block[] = [];
    for (const head of heads) for (let block = head; block; block = block.next) all.push(block);
    return all;
  }

  return { insert, remove, find, blocks };
}

const lowestBit = (bits: number): number => 31 - Math.clz32(bits & -bits);
