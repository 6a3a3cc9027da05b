/** How a matrix product uses a thread's scratch, and the sizes that follow. */

/** Sums over k are taken in blocks of this size, each added to the result in turn: a panel of B then fits the first-level cache. */
export const K_BLOCK = 256;

/** The most a tile may be: what it needs fits a thread's scratch. */
export const MOST_TILE_ROWS = 96;
export const MOST_TILE_COLS = 1024;

/** Columns that a tile packs for itself at a time. Where they are adjacent, B is read in whole cache lines. */
export const CHUNK = 64;

/** Where things are in a thread's scratch, in bytes: packed rows, packed columns, a register tile's worth, and a tile of the result. */
export const SCRATCH = { rows: 0, columns: 1 << 17, pad: (1 << 17) + 4 * CHUNK * K_BLOCK, result: 1 << 18 } as const;
