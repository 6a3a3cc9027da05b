/** How a matrix product uses a thread's scratch, and the sizes that follow. */

/** Sums over k are taken in blocks of this size, each added to the result in turn: a panel of B then fits the first-level cache. */
export const K_BLOCK = 256;

/** The most a tile may be. Rows make it worth packing columns for; what it needs fits the scratch, and the second-level cache. */
export const MOST_TILE_ROWS = 192;
export const MOST_TILE_COLS = 512;

/** Columns that a tile packs for itself at a time. Where they are adjacent, B is read in whole cache lines. */
export const CHUNK = 64;

/** With at most so many rows, or products in a sum, multiplying takes no longer than fetching and copying the columns would. */
export const FEW = 96;

const rowsBytes = 4 * MOST_TILE_ROWS * K_BLOCK + 4096; // zeros stand after the last panel
const columnsBytes = 4 * CHUNK * K_BLOCK;

/** Where things are, in bytes: packed rows, packed columns, a register tile's worth, and a tile of the result. */
export const SCRATCH = {
  rows: 0,
  columns: rowsBytes,
  pad: rowsBytes + columnsBytes,
  result: rowsBytes + columnsBytes + 4096,
} as const;
