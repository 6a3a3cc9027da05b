import { zeros } from "../make.ts";
import type { Tensor } from "../tensor.ts";
import type { DType } from "../types.ts";
import { indexTensor, type Index } from "./indexing.ts";
import * as sg from "./segments.ts";

/** An index as a tensor: plain numbers, which have no tensor beside them here, go to the default device. */
const onDevice = (op: string, index: Index): Tensor =>
  Array.isArray(index) ? indexTensor(op, zeros([]), index) : (index as Tensor);

/** 1 at each index along a new last axis, 0 elsewhere: `i32[...] -> [..., depth]`. An index out of range gives zeros. */
export const oneHot = <D extends DType = "f32">(
  index: Index,
  depth: number,
  options?: sg.OneHotOptions<D>,
): Tensor<D> => sg.oneHot(onDevice("oneHot", index), depth, options);

/** How often each of `0..length - 1` occurs: `i32[...] -> i32[length]`. Other values are not counted. */
export const bincount = (x: Index, length: number): Tensor<"i32"> => sg.bincount(onDevice("bincount", x), length);
