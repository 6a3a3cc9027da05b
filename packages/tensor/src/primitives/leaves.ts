import { DTypeError, internal } from "../errors.ts";
import { checkShape, sizeOf, stridesOf } from "../shape.ts";
import type { Storage } from "../runtime/storage.ts";
import { checkDType, type DType, type Shape } from "../types.ts";
import { plainKey, type Primitive } from "./primitive.ts";
import { threefry } from "./threefry.ts";

export interface BufferAttrs {
  readonly shape: Shape;
  readonly dtype: DType;
  readonly storage: Storage;
}

/** A tensor whose elements are in a device buffer. Which buffer is data; its shape and dtype are structural. */
export const buffer: Primitive<BufferAttrs> = {
  infer: (_, { shape, dtype }) => ({ shape, dtype }),
  reference: () => {
    throw internal("a buffer leaf has no loop");
  },
  key: () => "",
};

export interface FullAttrs {
  readonly shape: Shape;
  readonly dtype: DType;
  readonly value: number;
}

/** One number everywhere. The number is data, so a learning rate that changes never recompiles. */
export const full: Primitive<FullAttrs> = {
  infer: (_, { shape, dtype }) => {
    checkShape("full", shape);
    return { shape, dtype: checkDType("full", dtype) };
  },
  reference: (out, _, { value, dtype }) => void out.data.fill(dtype === "bool" ? Number(value !== 0) : value),
  key: () => "",
};

export interface IotaAttrs {
  readonly shape: Shape;
  readonly dtype: DType;
  readonly axis: number;
}

/** Each element is its coordinate along `axis`. */
export const iota: Primitive<IotaAttrs> = {
  infer: (_, { shape, dtype }) => {
    checkShape("iota", shape);
    if (dtype === "bool")
      throw new DTypeError("iota: counts in numbers, not in bool; compare them, for example .ne(0)");
    return { shape, dtype: checkDType("iota", dtype) };
  },
  reference: (out, _, { shape, axis }) => {
    const stride = stridesOf(shape)[axis];
    for (let i = 0; i < out.data.length; i++) out.data[i] = Math.floor(i / stride) % shape[axis];
  },
  key: plainKey,
};

export interface RandomBitsAttrs {
  readonly shape: Shape;
}

/**
 * Uniform 32-bit words: `[key: u32[2], stream: u32[]] -> u32[shape]`. Words 2i and 2i + 1 are Threefry-2x32-20 of the
 * counter (i, stream) under the key, so an element depends on its position alone and every device gives the same bits.
 */
export const randomBits: Primitive<RandomBitsAttrs> = {
  infer: (_, { shape }) => {
    checkShape("randomBits", shape);
    return { shape, dtype: "u32" };
  },
  reference: (out, [key, stream], { shape }) => {
    const size = sizeOf(shape);
    const word = new Uint32Array(2);
    for (let i = 0; i < size; i += 2) {
      threefry(word, key.data[0], key.data[1], i / 2, stream.data[0]);
      out.data[i] = word[0];
      if (i + 1 < size) out.data[i + 1] = word[1];
    }
  },
  key: plainKey,
};
