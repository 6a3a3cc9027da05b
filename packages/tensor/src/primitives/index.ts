import { assign } from "./assign.ts";
import { after, call, custom, detach, tag, transfer } from "./identities.ts";
import { gather, scatter } from "./indexing.ts";
import { buffer, full, iota, randomBits } from "./leaves.ts";
import { map } from "./map.ts";
import { groupedMatmul, matmul } from "./matmul.ts";
import type { Primitive } from "./primitive.ts";
import { argReduce, reduce, scan } from "./reduce.ts";
import { argsort, topK } from "./sort.ts";
import { concat, expand, pad, permute, reshape, slice } from "./views.ts";

/** Every primitive. Kernels, gradients and test generators are mapped types over these names: a forgotten one is a compile error. */
export const primitives = {
  buffer,
  full,
  iota,
  randomBits,
  map,
  reshape,
  permute,
  expand,
  pad,
  slice,
  concat,
  reduce,
  argReduce,
  scan,
  matmul,
  groupedMatmul,
  gather,
  scatter,
  argsort,
  topK,
  assign,
  detach,
  after,
  custom,
  call,
  tag,
  transfer,
};

export type PrimitiveName = keyof typeof primitives;

export type Attrs = { [P in PrimitiveName]: (typeof primitives)[P] extends Primitive<infer A> ? A : never };
