/** Vectors of elements from and to memory. Nothing outside the elements of a window is read or written. */
import type { DType } from "../../../types.ts";
import { i32, i32x4, v128, type I32, type V128 } from "../assembler.ts";
import { at, type Cursor, type Emission, type Vector, type Window } from "./emission.ts";
import type { Access } from "./nest.ts";

type Unit = 4 | 8;

const loadLane = (unit: Unit, address: I32, into: V128, lane: number): V128 =>
  unit === 8 ? v128.load64_lane(address, into, lane) : v128.load32_lane(address, into, lane);
const storeLane = (unit: Unit, address: I32, from: V128, lane: number, offset = 0) =>
  unit === 8 ? v128.store64_lane(address, from, lane, offset) : v128.store32_lane(address, from, lane, offset);
const loadFirst = (unit: Unit, address: I32): V128 =>
  unit === 8 ? v128.load64_zero(address) : v128.load32_zero(address);

/** The distance between the elements of neighbouring lanes, in bytes (or in ones). */
const strideOf = ({ word }: Emission, access: Access): I32 =>
  access.walk === "strided" ? word(access.stride!) : i32.const(access.walk === "uniform" ? 0 : access.unit);

/** A cursor moved to the first element of a window. */
export function cursorAt(e: Emission, access: Access, cursor: Cursor, { v, bytes }: Window): Cursor {
  if (access.walk === "uniform") return cursor;
  const step = access.walk === "contiguous" ? bytes[access.unit as Unit] : i32.mul(v, strideOf(e, access));
  return { ...cursor, at: e.f.let(i32.add(cursor.at, step)) };
}

/** A vector per copy of a window, in lanes of the dtype: bools as masks, zeros under the cursor's mask and outside bounds. */
export function loadLanes(e: Emission, access: Access, dtype: DType, cursor: Cursor, window: Window, u: number): V128 {
  const raw = masked(rawLanes(e, access, cursor.at, window, u), cursor);
  return dtype === "bool" ? i32x4.ne(raw, 0) : raw;
}

const masked = (value: V128, { mask }: Cursor): V128 => (mask ? v128.and(value, mask) : value);

/** One element in every lane. */
export function loadSplat(access: Access, dtype: DType, cursor: Cursor): V128 {
  const raw = masked(access.unit === 8 ? v128.load64_splat(cursor.at) : v128.load32_splat(cursor.at), cursor);
  return dtype === "bool" ? i32x4.ne(raw, 0) : raw;
}

function rawLanes(e: Emission, access: Access, from: I32, window: Window, u: number): V128 {
  if (access.bounds.some(({ axis }) => axis.of === "lanes")) return boundedLanes(e, access, from, window, u);
  if (window.rest)
    return spread(
      e,
      access,
      window.rest.lanes.map((lane) => at(from, lane, strideOf(e, access))),
    );
  return wholeLanes(e, access, from, u);
}

function wholeLanes(e: Emission, access: Access, from: I32, u: number): V128 {
  const { f, nest } = e;
  const skipped = u * nest.width;
  if (access.walk === "contiguous") {
    const offset = skipped * access.unit;
    return nest.width === 2 && access.unit === 4 ? v128.load64_zero(from, offset) : v128.load(from, offset);
  }
  const stride = f.let(strideOf(e, access));
  const addresses = [f.let(skipped === 0 ? from : at(from, i32.const(skipped), stride))];
  while (addresses.length < nest.width) addresses.push(f.let(i32.add(addresses.at(-1)!, stride)));
  return spread(e, access, addresses);
}

/** Each lane from an address of its own. */
function spread(_e: Emission, access: Access, addresses: readonly I32[]): V128 {
  const unit = access.unit as Unit;
  return addresses.reduce<V128 | undefined>(
    (into, address, lane) => (into === undefined ? loadFirst(unit, address) : loadLane(unit, address, into, lane)),
    undefined,
  )!;
}

/** Padded along the lanes: whole where all lanes hold elements, else lane by lane. */
function boundedLanes(e: Emission, access: Access, from: I32, window: Window, u: number): V128 {
  const { f, nest, word } = e;
  const bound = access.bounds.find(({ axis }) => axis.of === "lanes")!;
  const low = f.let(word(bound.from));
  const high = f.let(i32.add(low, word(bound.span)));
  f.if(i32.lt_s(window.to, high), () => f.set(high, window.to));
  const first = f.let(i32.add(window.v, u * nest.width));
  const value = f.local("v128");
  f.set(value, i32x4.const(0));
  const laneByLane = (): void => {
    const stride = f.let(strideOf(e, access));
    for (let lane = 0; lane < nest.width; lane++) {
      const index = i32.add(first, lane);
      f.if(i32.and(i32.ge_s(index, low), i32.lt_s(index, high)), () => {
        f.set(value, loadLane(access.unit as Unit, at(from, i32.const(u * nest.width + lane), stride), value, lane));
      });
    }
  };
  const whole = i32.and(i32.ge_s(first, low), i32.le_s(i32.add(first, nest.width), high));
  f.if(whole, () => f.set(value, wholeLanes(e, access, from, u)), laneByLane);
  return value;
}

/** The lanes of a window that lie within an access's bounds along the lanes, as a mask. */
export function insideLanes(
  { nest, word, ramp }: Emission,
  access: Access,
  window: Window,
  u: number,
): V128 | undefined {
  const bound = access.bounds.find(({ axis }) => axis.of === "lanes");
  if (!bound) return undefined;
  const first = i32.sub(i32.add(window.v, u * nest.width), word(bound.from));
  return i32x4.lt_u(i32x4.add(i32x4.splat(first), ramp), i32x4.splat(word(bound.span)));
}

/** Elements chosen lane by lane by an index; zero where it is out of range or the view has no element. */
export function gatherLanes(
  e: Emission,
  access: Access,
  dtype: DType,
  cursor: Cursor,
  window: Window,
  u: number,
  index: { readonly value: Vector; readonly stride: I32; readonly extent: I32 },
): V128 {
  const { f, nest } = e;
  const valid = f.let(i32x4.lt_u(index.value, i32x4.splat(index.extent)));
  const inside = insideLanes(e, access, window, u);
  if (inside) f.set(valid, v128.and(valid, inside));
  if (cursor.mask) f.set(valid, v128.and(valid, cursor.mask));
  const safe = f.let(v128.and(index.value, valid));
  const [laneStride, stride] = [f.let(strideOf(e, access)), f.let(index.stride)];
  const element = (lane: number): I32 => {
    const from = window.rest ? window.rest.lanes[lane] : i32.const(u * nest.width + lane);
    return at(at(cursor.at, from, laneStride), i32x4.extract(safe, lane), stride);
  };
  const lanes = Array.from({ length: nest.width }, (_, lane) => lane);
  const unit = access.unit as Unit;
  const finish = (raw: V128): V128 => (dtype === "bool" ? i32x4.ne(raw, 0) : raw);
  if (!inside) {
    const raw = f.let(spread(e, access, lanes.map(element)));
    const mask = unit === 8 ? v128.shuffle32(valid, valid, [0, 0, 1, 1]) : valid;
    return finish(v128.and(raw, mask));
  }
  const value = f.let(i32x4.const(0));
  for (const lane of lanes) {
    f.if(i32x4.extract(valid, lane), () => f.set(value, loadLane(unit, element(lane), value, lane)));
  }
  return finish(value);
}

/** Stores the lanes of a window that exist; a bool as 0 or 1. */
export function storeLanes(
  e: Emission,
  access: Access,
  dtype: DType,
  cursor: Cursor,
  window: Window,
  u: number,
  value: Vector,
): void {
  const { f, nest } = e;
  const unit = access.unit as Unit;
  const stored = dtype === "bool" ? f.let(v128.and(value, 1)) : value;
  if (access.walk === "uniform") return f.do(storeLane(unit, cursor.at, stored, 0));
  if (access.walk === "contiguous" && !window.rest) {
    const offset = u * nest.width * unit;
    const half = nest.width === 2 && unit === 4;
    return f.do(half ? v128.store64_lane(cursor.at, stored, 0, offset) : v128.store(cursor.at, stored, offset));
  }
  const stride = f.let(strideOf(e, access));
  for (let lane = 0; lane < nest.width; lane++) {
    const put = (): void =>
      f.do(storeLane(unit, at(cursor.at, i32.const(u * nest.width + lane), stride), stored, lane));
    if (window.rest && lane > 0) f.if(i32.gt_s(window.rest.count, lane), put);
    else put();
  }
}
