/** How WebAssembly writes numbers, vectors and names down as bytes. */

/** The empty type is that of blocks without a result. */
export const typeCode = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c, v128: 0x7b, void: 0x40 } as const;

/** LEB128. */
export function unsigned(value: number): number[] {
  const bytes: number[] = [];
  do {
    bytes.push((value % 128) | (value >= 128 ? 0x80 : 0));
    value = Math.floor(value / 128);
  } while (value > 0);
  return bytes;
}

/** LEB128 with a sign. */
export function signed(value: bigint): number[] {
  const bytes: number[] = [];
  for (;;) {
    const low = Number(value & 0x7fn);
    value >>= 7n;
    if (value === (low & 0x40 ? -1n : 0n)) return [...bytes, low];
    bytes.push(low | 0x80);
  }
}

export const bytesOf = (array: ArrayBufferView): number[] => [...new Uint8Array(array.buffer)];

export function opcode(code: number): number[] {
  return code > 0xff ? [code >>> 16, ...unsigned(code & 0xffff)] : [code];
}

export const section = (bytes: number[]): number[] => [...unsigned(bytes.length), ...bytes];
export const vector = (rows: readonly (readonly number[])[]): number[] => [...unsigned(rows.length), ...rows.flat()];
export const text = (value: string): number[] => vector([...new TextEncoder().encode(value)].map((byte) => [byte]));
