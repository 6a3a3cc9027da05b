import { FormatError, type DType, type TypedArray } from "@switchyard/tensor";
import { floatOfHalf, halfOfFloat } from "@switchyard/tensor/graph";

/** How the elements of a file become ours, and ours those of a file. */
interface ElementType {
  /** What an element takes in the file. */
  readonly bytes: number;
  /** What it becomes. */
  readonly dtype: DType;
  /** @throws {FormatError} if an integer of 64 bits is beyond 32. */
  readonly read: (bytes: ArrayBufferLike, name: string) => TypedArray;
}

/** The element types of safetensors that a dtype here can hold, by their names in the format. */
export const elementTypes = {
  F64: { bytes: 8, dtype: "f64", read: (b) => new Float64Array(b) },
  F32: { bytes: 4, dtype: "f32", read: (b) => new Float32Array(b) },
  F16: { bytes: 2, dtype: "f32", read: (b) => Float32Array.from(new Uint16Array(b), floatOfHalf) },
  BF16: { bytes: 2, dtype: "f32", read: (b) => floatsOfBrainFloats(new Uint16Array(b)) },
  I64: {
    bytes: 8,
    dtype: "i32",
    read: (b, name) => Int32Array.from(narrow(new BigInt64Array(b), -(2 ** 31), 2 ** 31, name)),
  },
  I32: { bytes: 4, dtype: "i32", read: (b) => new Int32Array(b) },
  I16: { bytes: 2, dtype: "i32", read: (b) => Int32Array.from(new Int16Array(b)) },
  I8: { bytes: 1, dtype: "i32", read: (b) => Int32Array.from(new Int8Array(b)) },
  U64: { bytes: 8, dtype: "u32", read: (b, name) => Uint32Array.from(narrow(new BigUint64Array(b), 0, 2 ** 32, name)) },
  U32: { bytes: 4, dtype: "u32", read: (b) => new Uint32Array(b) },
  U16: { bytes: 2, dtype: "u32", read: (b) => Uint32Array.from(new Uint16Array(b)) },
  U8: { bytes: 1, dtype: "u32", read: (b) => Uint32Array.from(new Uint8Array(b)) },
  BOOL: { bytes: 1, dtype: "bool", read: (b) => new Uint8Array(b) },
} satisfies { readonly [name: string]: ElementType };

export type ElementTypeName = keyof typeof elementTypes;

export const isElementType = (name: string): name is ElementTypeName => Object.hasOwn(elementTypes, name);

/** How f32 is written: as it is, or rounded to the nearest half, ties to even. */
export type FloatFormat = "F32" | "F16" | "BF16";

const written = { f16: "F16", f64: "F64", f32: "F32", i32: "I32", u32: "U32", bool: "BOOL" } satisfies {
  [D in DType]: ElementTypeName;
};

/** The type that elements of a dtype are written as. */
export const elementTypeOf = (dtype: DType, floats: FloatFormat): ElementTypeName =>
  dtype === "f32" ? floats : written[dtype];

/** Elements as the bytes of a file. Typed arrays in the byte order of the machine are little-endian on every machine that runs JavaScript today. */
export function bytesOf(data: TypedArray, type: ElementTypeName): Uint8Array {
  const elements =
    type === "F16" ? halvesOf(data as Float32Array) : type === "BF16" ? brainFloatsOf(data as Float32Array) : data;
  return new Uint8Array(elements.buffer, elements.byteOffset, elements.byteLength);
}

/** A bfloat16 is the upper half of an f32. */
const floatsOfBrainFloats = (halves: Uint16Array): Float32Array =>
  new Float32Array(Uint32Array.from(halves, (bits) => bits << 16).buffer);

const bitsOf = (floats: Float32Array): Uint32Array => new Uint32Array(floats.buffer, floats.byteOffset, floats.length);
const isNan = (bits: number): boolean => (bits & 0x7fffffff) > 0x7f800000;
/** The bits of an f32 without the last so many, rounded; a carry runs into the exponent, as it should. */
const rounded = (bits: number, dropped: number): number =>
  (bits + (1 << (dropped - 1)) - 1 + ((bits >>> dropped) & 1)) >>> dropped;

const brainFloatsOf = (floats: Float32Array): Uint16Array =>
  Uint16Array.from(bitsOf(floats), (bits) => (isNan(bits) ? 0x7fc0 : rounded(bits, 16)));

const halvesOf = (floats: Float32Array): Uint16Array => Uint16Array.from(floats, halfOfFloat);

function* narrow(values: Iterable<bigint>, least: number, end: number, name: string): Generator<number> {
  for (const value of values) {
    const number = Number(value);
    if (number < least || number >= end)
      throw new FormatError(`${name} has the element ${value}, which no dtype here can hold`);
    yield number;
  }
}
