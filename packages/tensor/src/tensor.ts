/// <reference lib="esnext.disposable" preserve="true" />
import { ConfigError, DisposedError, DTypeError } from "./errors.ts";
import * as el from "./functions/elementwise.ts";
import * as ix from "./functions/indexing.ts";
import * as la from "./functions/linear.ts";
import * as nn from "./functions/neural.ts";
import * as rd from "./functions/reductions.ts";
import * as sg from "./functions/segments.ts";
import * as tg from "./functions/tags.ts";
import * as vw from "./functions/views.ts";
import { makeNode, opName, type AnyNode } from "./node.ts";
import { inWords } from "./options.ts";
import { userLine } from "./provenance.ts";
import { leafStorage, valueNode } from "./runtime/leaves.ts";
import { readNode } from "./runtime/realize.ts";
import type { Storage } from "./runtime/storage.ts";
import { describe, sizeOf, stridesOf } from "./shape.ts";
import { checkDevice, type DeviceName, type DType, type Shape, type TypedArray } from "./types.ts";
import { version } from "./version.ts";

type Operand = el.Operand;
type Axis = rd.Axis;

/** Nested arrays of numbers, or of booleans for bool tensors. */
export type Nested = number | boolean | Nested[];

const brand = Symbol.for("switchyard.tensor");

/**
 * Whether `x` is a tensor.
 * @throws {ConfigError} if it is one of another copy of the library: the two cannot work together.
 */
export function isTensor(op: string, x: unknown): x is Tensor {
  if (x instanceof Tensor) return true;
  const other = (x as { readonly [brand]?: string } | null | undefined)?.[brand];
  if (other === undefined) return false;
  throw new ConfigError(
    `${op}: a tensor of another copy of @switchyard/tensor (${other}, this is ${version}); deduplicate the dependency`,
  );
}

/**
 * A tensor: a handle on a node of the lazy graph. Operations append nodes and run nothing; `data`, `item`, `toArray` and
 * `realize` run them. The handle of a realized tensor owns a device buffer until `dispose`, donation or collection.
 */
export class Tensor<out D extends DType = DType> {
  readonly shape: Shape;
  readonly dtype: D;
  readonly device: DeviceName;
  #node: AnyNode;
  #owned: Storage | undefined;
  #ended: string | undefined;
  #host: Promise<TypedArray> | undefined;

  /** @internal Users make tensors with `tensor`, `zeros` and their kin. */
  constructor(node: AnyNode, owned?: Storage) {
    this.shape = node.shape;
    this.dtype = node.dtype as D;
    this.device = node.device;
    this.#node = node;
    this.#owned = owned;
  }

  /** The graph node behind the handle, as `autograd` reads it. @throws {DisposedError} if the handle has ended. */
  get node(): AnyNode {
    if (this.#ended !== undefined) {
      const maker = leafStorage(this.#node)?.owner.op ?? opName(this.#node);
      throw new DisposedError(
        `tensor ${describe(this)} made by ${maker} was ${this.#ended}; use it before that, or keep a copy`,
      );
    }
    return this.#node;
  }

  get [brand](): string {
    return version;
  }

  /** A handle of this library on another node. */
  derive(node: AnyNode): Tensor {
    return new Tensor(node);
  }

  /** This tensor, if every tensor among `operands` comes from this copy of the library. */
  expectTensor(op: string, operands: readonly unknown[]): Tensor {
    for (const x of operands)
      if (typeof x !== "number" && !isTensor(op, x))
        throw new DTypeError(`${op}: takes tensors and numbers, got ${inWords(x)}`);
    return this as Tensor;
  }

  /** @internal The storage this handle owns, if it has been realized. */
  get storage(): Storage | undefined {
    return this.#owned;
  }

  /** @internal Points the handle at a storage that holds, or will hold, its elements. */
  adopt(storage: Storage, leaf: AnyNode): void {
    this.#node = leaf;
    this.#owned = storage;
    this.#host = undefined;
  }

  /** @internal Ends the handle. The storage ends with its last handle. */
  end(how: string): void {
    if (this.#ended !== undefined) return;
    const line = userLine();
    this.#ended = line === undefined ? how : `${how} at ${line}`;
    this.#host = undefined;
    if (this.#owned && --this.#owned.handles === 0) this.#owned.end(how, line);
    this.#owned = undefined;
  }

  /** Number of elements. */
  get size(): number {
    return sizeOf(this.shape);
  }

  /** Number of axes. */
  get ndim(): number {
    return this.shape.length;
  }

  /**
   * The elements, row-major. A copy: yours to keep and change.
   * @throws {DisposedError} if the tensor, or one it needs, has ended.
   */
  async data(): Promise<TypedArray<D>> {
    const { node } = this;
    const owned = leafStorage(valueNode(node));
    if (owned) return (await readNode(node)) as TypedArray<D>;
    this.#host ??= readNode(node);
    try {
      return (await this.#host).slice() as TypedArray<D>;
    } catch (error) {
      // What failed once, for want of room say, may be read another time.
      this.#host = undefined;
      throw error;
    }
  }

  /** The one element of a tensor of size 1. Bool gives 0 or 1. */
  async item(): Promise<number> {
    if (this.size !== 1)
      throw new DTypeError(`item: the tensor must have one element (got ${describe(this)}); use data() or toArray()`);
    return (await this.data())[0];
  }

  /** The elements as nested arrays; a scalar gives a number. */
  async toArray(): Promise<Nested> {
    const data = await this.data();
    const strides = stridesOf(this.shape);
    const nest = (axis: number, offset: number): Nested => {
      if (axis === this.ndim) return this.dtype === "bool" ? data[offset] !== 0 : data[offset];
      return Array.from({ length: this.shape[axis] }, (_, i) => nest(axis + 1, offset + i * strides[axis]));
    };
    return nest(0, 0);
  }

  /** Gives the device buffer back, at once. A pending operation that still needs it throws when it is realized. */
  dispose(): void {
    this.end("disposed");
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** The same elements on another device. */
  to(device: DeviceName): Tensor<D> {
    if (checkDevice("to", device) === this.device) return this;
    return this.derive(makeNode("transfer", [this.node], { device, arrived: {} }, device)) as Tensor<D>;
  }

  toString(): string {
    return `${describe(this)} on ${this.device}`;
  }

  [Symbol.toPrimitive](hint: string): string {
    if (hint === "string") return this.toString();
    throw new TypeError(
      `a tensor is not a number: use .add(x), .mul(x), … for arithmetic and await .item() for its value (got ${describe(this)})`,
    );
  }

  add(other: Operand): Tensor<D> {
    return el.add(this, other) as Tensor<D>;
  }
  sub(other: Operand): Tensor<D> {
    return el.sub(this, other) as Tensor<D>;
  }
  mul(other: Operand): Tensor<D> {
    return el.mul(this, other) as Tensor<D>;
  }
  div(other: Operand): Tensor<D> {
    return el.div(this, other) as Tensor<D>;
  }
  pow(exponent: Operand): Tensor<D> {
    return el.pow(this, exponent) as Tensor<D>;
  }
  mod(other: Operand): Tensor<D> {
    return el.mod(this, other) as Tensor<D>;
  }
  minimum(other: Operand): Tensor<D> {
    return el.minimum(this, other) as Tensor<D>;
  }
  maximum(other: Operand): Tensor<D> {
    return el.maximum(this, other) as Tensor<D>;
  }
  neg(): Tensor<D> {
    return el.neg<D>(this);
  }
  abs(): Tensor<D> {
    return el.abs<D>(this);
  }
  sign(): Tensor<D> {
    return el.sign<D>(this);
  }
  floor(): Tensor<D> {
    return el.floor<D>(this);
  }
  ceil(): Tensor<D> {
    return el.ceil<D>(this);
  }
  round(): Tensor<D> {
    return el.round<D>(this);
  }
  exp(): Tensor<D> {
    return el.exp<D>(this);
  }
  expm1(): Tensor<D> {
    return el.expm1<D>(this);
  }
  log(): Tensor<D> {
    return el.log<D>(this);
  }
  log1p(): Tensor<D> {
    return el.log1p<D>(this);
  }
  sqrt(): Tensor<D> {
    return el.sqrt<D>(this);
  }
  rsqrt(): Tensor<D> {
    return el.rsqrt<D>(this);
  }
  sin(): Tensor<D> {
    return el.sin<D>(this);
  }
  cos(): Tensor<D> {
    return el.cos<D>(this);
  }
  tan(): Tensor<D> {
    return el.tan<D>(this);
  }
  tanh(): Tensor<D> {
    return el.tanh<D>(this);
  }
  sigmoid(): Tensor<D> {
    return el.sigmoid<D>(this);
  }
  softplus(): Tensor<D> {
    return el.softplus<D>(this);
  }
  relu(): Tensor<D> {
    return el.relu<D>(this);
  }
  gelu(): Tensor<D> {
    return el.gelu<D>(this);
  }
  silu(): Tensor<D> {
    return el.silu<D>(this);
  }
  erf(): Tensor<D> {
    return el.erf<D>(this);
  }
  normalCdf(): Tensor<D> {
    return el.normalCdf<D>(this);
  }
  square(): Tensor<D> {
    return el.square<D>(this);
  }
  reciprocal(): Tensor<D> {
    return el.reciprocal<D>(this);
  }
  clip(low: Operand, high: Operand): Tensor<D> {
    return el.clip(this, low, high) as Tensor<D>;
  }
  where(condition: Tensor, otherwise: Operand): Tensor<D> {
    return el.where(condition, this, otherwise) as Tensor<D>;
  }
  eq(other: Operand): Tensor<"bool"> {
    return el.eq(this, other);
  }
  ne(other: Operand): Tensor<"bool"> {
    return el.ne(this, other);
  }
  lt(other: Operand): Tensor<"bool"> {
    return el.lt(this, other);
  }
  le(other: Operand): Tensor<"bool"> {
    return el.le(this, other);
  }
  gt(other: Operand): Tensor<"bool"> {
    return el.gt(this, other);
  }
  ge(other: Operand): Tensor<"bool"> {
    return el.ge(this, other);
  }
  and(other: Operand): Tensor<D> {
    return el.and(this, other) as Tensor<D>;
  }
  or(other: Operand): Tensor<D> {
    return el.or(this, other) as Tensor<D>;
  }
  xor(other: Operand): Tensor<D> {
    return el.xor(this, other) as Tensor<D>;
  }
  not(): Tensor<D> {
    return el.not<D>(this);
  }
  isFinite(): Tensor<"bool"> {
    return el.isFinite(this);
  }
  isNaN(): Tensor<"bool"> {
    return el.isNaN(this);
  }
  cast<T extends DType>(dtype: T): Tensor<T> {
    return el.cast(this, dtype);
  }

  sum(axis?: Axis, options?: rd.ReduceOptions): Tensor<D> {
    return rd.sum<D>(this, axis, options);
  }
  mean(axis?: Axis, options?: rd.ReduceOptions): Tensor<D> {
    return rd.mean<D>(this, axis, options);
  }
  max(axis?: Axis, options?: rd.ReduceOptions): Tensor<D> {
    return rd.max<D>(this, axis, options);
  }
  min(axis?: Axis, options?: rd.ReduceOptions): Tensor<D> {
    return rd.min<D>(this, axis, options);
  }
  prod(axis?: Axis, options?: rd.ReduceOptions): Tensor<D> {
    return rd.prod<D>(this, axis, options);
  }
  variance(axis?: Axis, options?: rd.VarianceOptions): Tensor<D> {
    return rd.variance<D>(this, axis, options);
  }
  std(axis?: Axis, options?: rd.VarianceOptions): Tensor<D> {
    return rd.std<D>(this, axis, options);
  }
  logSumExp(axis?: Axis, options?: rd.ReduceOptions): Tensor<D> {
    return rd.logSumExp<D>(this, axis, options);
  }
  norm(axis?: Axis, options?: rd.ReduceOptions): Tensor<D> {
    return rd.norm<D>(this, axis, options);
  }
  any(axis?: Axis, options?: rd.ReduceOptions): Tensor<"bool"> {
    return rd.any(this, axis, options);
  }
  all(axis?: Axis, options?: rd.ReduceOptions): Tensor<"bool"> {
    return rd.all(this, axis, options);
  }
  argMax(axis?: number, options?: rd.ReduceOptions): Tensor<"i32"> {
    return rd.argMax(this, axis, options);
  }
  argMin(axis?: number, options?: rd.ReduceOptions): Tensor<"i32"> {
    return rd.argMin(this, axis, options);
  }
  cumsum(axis?: number, options?: rd.ScanOptions): Tensor<D> {
    return rd.cumsum<D>(this, axis, options);
  }
  cumprod(axis?: number, options?: rd.ScanOptions): Tensor<D> {
    return rd.cumprod<D>(this, axis, options);
  }
  cummax(axis?: number, options?: rd.ScanOptions): Tensor<D> {
    return rd.cummax<D>(this, axis, options);
  }

  matmul(other: Tensor): Tensor<D> {
    return la.matmul<D>(this, other);
  }
  dot(other: Tensor): Tensor<D> {
    return la.dot<D>(this, other);
  }
  groupedMatmul(rhs: Tensor, offsets: Tensor, options?: la.GroupedMatmulOptions): Tensor<D> {
    return la.groupedMatmul<D>(this, rhs, offsets, options);
  }
  tril(diagonal?: number): Tensor<D> {
    return sg.tril<D>(this, diagonal);
  }
  triu(diagonal?: number): Tensor<D> {
    return sg.triu<D>(this, diagonal);
  }

  reshape(shape: Shape): Tensor<D> {
    return vw.reshape<D>(this, shape);
  }
  transpose(a?: number, b?: number): Tensor<D> {
    return vw.transpose<D>(this, a, b);
  }
  permute(axes: readonly number[]): Tensor<D> {
    return vw.permute<D>(this, axes);
  }
  expandDims(axis: number | readonly number[]): Tensor<D> {
    return vw.expandDims<D>(this, axis);
  }
  squeeze(axis?: number | readonly number[]): Tensor<D> {
    return vw.squeeze<D>(this, axis);
  }
  broadcastTo(shape: Shape): Tensor<D> {
    return vw.broadcastTo<D>(this, shape);
  }
  slice(...ranges: readonly vw.SliceRange[]): Tensor<D> {
    return vw.slice<D>(this, ...ranges);
  }
  flip(axis?: number | readonly number[]): Tensor<D> {
    return vw.flip<D>(this, axis);
  }
  pad(widths: readonly (readonly [number, number])[], value?: number): Tensor<D> {
    return vw.pad<D>(this, widths, value);
  }
  split(parts: number | readonly number[], axis?: number): Tensor<D>[] {
    return vw.split<D>(this, parts, axis);
  }
  tile(repeats: readonly number[]): Tensor<D> {
    return vw.tile<D>(this, repeats);
  }
  repeat(times: number, axis?: number): Tensor<D> {
    return vw.repeat<D>(this, times, axis);
  }

  gather(index: ix.Index, axis?: number, options?: ix.GatherOptions): Tensor<D> {
    return ix.gather<D>(this, index, axis, options);
  }
  take(index: ix.Index, axis?: number): Tensor<D> {
    return ix.take<D>(this, index, axis);
  }
  takeAlongAxis(index: Tensor, axis?: number): Tensor<D> {
    return ix.takeAlongAxis<D>(this, index, axis);
  }
  scatterAdd(index: ix.Index, updates: Tensor, axis?: number): Tensor<D> {
    return ix.scatterAdd<D>(this, index, updates, axis);
  }
  argsort(axis?: number, options?: ix.SortOptions): Tensor<"i32"> {
    return ix.argsort(this, axis, options);
  }
  sort(axis?: number, options?: ix.SortOptions): Tensor<D> {
    return ix.sort<D>(this, axis, options);
  }
  topK(k: number, axis?: number): { values: Tensor<D>; indices: Tensor<"i32"> } {
    return ix.topK<D>(this, k, axis);
  }

  searchSorted(values: Tensor, options?: sg.SearchOptions): Tensor<"i32"> {
    return sg.searchSorted(this, values, options);
  }
  oneHot<T extends DType = "f32">(depth: number, options?: sg.OneHotOptions<T>): Tensor<T> {
    return sg.oneHot<T>(this, depth, options);
  }
  bincount(length: number): Tensor<"i32"> {
    return sg.bincount(this, length);
  }
  segmentSum(segments: ix.Index, count: number, options?: sg.SegmentOptions): Tensor<D> {
    return sg.segmentSum<D>(this, segments, count, options);
  }
  segmentMax(segments: ix.Index, count: number, options?: sg.SegmentOptions): Tensor<D> {
    return sg.segmentMax<D>(this, segments, count, options);
  }

  softmax(axis?: number): Tensor<D> {
    return nn.softmax<D>(this, axis);
  }
  logSoftmax(axis?: number): Tensor<D> {
    return nn.logSoftmax<D>(this, axis);
  }
  layerNorm(weight?: Tensor | null, bias?: Tensor | null, options?: nn.NormalizationOptions): Tensor<D> {
    return nn.layerNorm<D>(this, weight, bias, options);
  }
  rmsNorm(weight?: Tensor | null, bias?: Tensor | null, options?: nn.NormalizationOptions): Tensor<D> {
    return nn.rmsNorm<D>(this, weight, bias, options);
  }
  crossEntropy(targets: ix.Index, options?: nn.CrossEntropyOptions): Tensor<D> {
    return nn.crossEntropy<D>(this, targets, options);
  }

  stopGradient(): Tensor<D> {
    return tg.stopGradient<D>(this);
  }
}

/** A handle on a node. */
export const fromNode = (node: AnyNode): Tensor => new Tensor(node);
