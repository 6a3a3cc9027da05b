/** WebAssembly opcodes, by signature. A number above 0xff carries its prefix byte: 0xfc saturating and bulk, 0xfd SIMD, 0xfe atomics. */

const simd = (code: number): number => 0xfd0000 + code;
const atomic = (code: number): number => 0xfe0000 + code;
const saturating = (code: number): number => 0xfc0000 + code;

export const control = {
  unreachable: 0x00, block: 0x02, loop: 0x03, if: 0x04, else: 0x05, end: 0x0b, br: 0x0c, brIf: 0x0d, return: 0x0f,
  call: 0x10, drop: 0x1a, select: 0x1b, get: 0x20, set: 0x21,
  fill: saturating(0x0b), copy: saturating(0x0a),
} as const;

export const constant = { i32: 0x41, i64: 0x42, f32: 0x43, f64: 0x44, v128: simd(0x0c) } as const;

export const i32 = {
  compare: {
    eq: 0x46, ne: 0x47, lt_s: 0x48, lt_u: 0x49, gt_s: 0x4a, gt_u: 0x4b, le_s: 0x4c, le_u: 0x4d, ge_s: 0x4e, ge_u: 0x4f,
  },
  unary: { eqz: 0x45, clz: 0x67, ctz: 0x68, popcnt: 0x69 },
  binary: {
    add: 0x6a, sub: 0x6b, mul: 0x6c, div_s: 0x6d, div_u: 0x6e, rem_s: 0x6f, rem_u: 0x70, and: 0x71, or: 0x72, xor: 0x73,
    shl: 0x74, shr_s: 0x75, shr_u: 0x76, rotl: 0x77, rotr: 0x78,
  },
  load: { load: 0x28, load8_s: 0x2c, load8_u: 0x2d, load16_s: 0x2e, load16_u: 0x2f },
  store: { store: 0x36, store8: 0x3a, store16: 0x3b },
  atomicLoad: atomic(0x10), atomicStore: atomic(0x17), atomicAdd: atomic(0x1e),
  wait: atomic(0x01), notify: atomic(0x00),
} as const;

export const i64 = {
  compare: {
    eq: 0x51, ne: 0x52, lt_s: 0x53, lt_u: 0x54, gt_s: 0x55, gt_u: 0x56, le_s: 0x57, le_u: 0x58, ge_s: 0x59, ge_u: 0x5a,
  },
  unary: { clz: 0x79, ctz: 0x7a, popcnt: 0x7b },
  binary: {
    add: 0x7c, sub: 0x7d, mul: 0x7e, div_s: 0x7f, div_u: 0x80, rem_s: 0x81, rem_u: 0x82, and: 0x83, or: 0x84, xor: 0x85,
    shl: 0x86, shr_s: 0x87, shr_u: 0x88, rotl: 0x89, rotr: 0x8a,
  },
  load: { load: 0x29 },
  store: { store: 0x37 },
} as const;

export const f32 = {
  compare: { eq: 0x5b, ne: 0x5c, lt: 0x5d, gt: 0x5e, le: 0x5f, ge: 0x60 },
  unary: { abs: 0x8b, neg: 0x8c, ceil: 0x8d, floor: 0x8e, trunc: 0x8f, nearest: 0x90, sqrt: 0x91 },
  binary: { add: 0x92, sub: 0x93, mul: 0x94, div: 0x95, min: 0x96, max: 0x97, copysign: 0x98 },
  load: { load: 0x2a },
  store: { store: 0x38 },
} as const;

export const f64 = {
  compare: { eq: 0x61, ne: 0x62, lt: 0x63, gt: 0x64, le: 0x65, ge: 0x66 },
  unary: { abs: 0x99, neg: 0x9a, ceil: 0x9b, floor: 0x9c, trunc: 0x9d, nearest: 0x9e, sqrt: 0x9f },
  binary: { add: 0xa0, sub: 0xa1, mul: 0xa2, div: 0xa3, min: 0xa4, max: 0xa5, copysign: 0xa6 },
  load: { load: 0x2b },
  store: { store: 0x39 },
} as const;

/** `to_from`, each of one operand. */
export const convert = {
  i32: {
    wrap_i64: ["i64", 0xa7], reinterpret_f32: ["f32", 0xbc],
    trunc_sat_f32_s: ["f32", saturating(0)], trunc_sat_f32_u: ["f32", saturating(1)],
    trunc_sat_f64_s: ["f64", saturating(2)], trunc_sat_f64_u: ["f64", saturating(3)],
  },
  i64: {
    extend_i32_s: ["i32", 0xac], extend_i32_u: ["i32", 0xad], reinterpret_f64: ["f64", 0xbd],
    trunc_sat_f64_s: ["f64", saturating(6)],
  },
  f32: {
    convert_i32_s: ["i32", 0xb2], convert_i32_u: ["i32", 0xb3], demote_f64: ["f64", 0xb6], reinterpret_i32: ["i32", 0xbe],
  },
  f64: {
    convert_i32_s: ["i32", 0xb7], convert_i32_u: ["i32", 0xb8], convert_i64_s: ["i64", 0xb9], promote_f32: ["f32", 0xbb],
    reinterpret_i64: ["i64", 0xbf],
  },
} as const;

export const v128 = {
  unary: { not: simd(0x4d) },
  binary: { and: simd(0x4e), andnot: simd(0x4f), or: simd(0x50), xor: simd(0x51) },
  test: { any_true: simd(0x53) },
  load: {
    load: simd(0x00), load8_splat: simd(0x07), load16_splat: simd(0x08), load32_splat: simd(0x09), load64_splat: simd(0x0a),
    load32_zero: simd(0x5c), load64_zero: simd(0x5d), load8x8_u: simd(0x02), load32x2_s: simd(0x05),
  },
  store: { store: simd(0x0b) },
  loadLane: { load8_lane: simd(0x54), load16_lane: simd(0x55), load32_lane: simd(0x56), load64_lane: simd(0x57) },
  storeLane: { store8_lane: simd(0x58), store16_lane: simd(0x59), store32_lane: simd(0x5a), store64_lane: simd(0x5b) },
  bitselect: simd(0x52), shuffle: simd(0x0d), swizzle: simd(0x0e),
} as const;

export const i32x4 = {
  splat: simd(0x11), extract: simd(0x1b), replace: simd(0x1c),
  unary: {
    abs: simd(0xa0), neg: simd(0xa1), trunc_sat_f32x4_s: simd(0xf8), trunc_sat_f32x4_u: simd(0xf9),
    trunc_sat_f64x2_s_zero: simd(0xfc), trunc_sat_f64x2_u_zero: simd(0xfd),
  },
  binary: {
    eq: simd(0x37), ne: simd(0x38), lt_s: simd(0x39), lt_u: simd(0x3a), gt_s: simd(0x3b), gt_u: simd(0x3c),
    le_s: simd(0x3d), le_u: simd(0x3e), ge_s: simd(0x3f), ge_u: simd(0x40),
    add: simd(0xae), sub: simd(0xb1), mul: simd(0xb5),
    min_s: simd(0xb6), min_u: simd(0xb7), max_s: simd(0xb8), max_u: simd(0xb9),
  },
  shift: { shl: simd(0xab), shr_s: simd(0xac), shr_u: simd(0xad) },
  test: { all_true: simd(0xa3), bitmask: simd(0xa4) },
} as const;

export const i64x2 = {
  splat: simd(0x12), extract: simd(0x1d), replace: simd(0x1e),
  unary: {
    extend_low_i32x4_s: simd(0xc7), extend_high_i32x4_s: simd(0xc8), extend_low_i32x4_u: simd(0xc9), extend_high_i32x4_u: simd(0xca),
  },
  binary: { add: simd(0xce), sub: simd(0xd1), mul: simd(0xd5), eq: simd(0xd6) },
  shift: { shl: simd(0xcb), shr_s: simd(0xcc), shr_u: simd(0xcd) },
  test: { all_true: simd(0xc3), bitmask: simd(0xc4) },
} as const;

export const f32x4 = {
  splat: simd(0x13), extract: simd(0x1f), replace: simd(0x20), relaxedMadd: simd(0x105),
  unary: {
    ceil: simd(0x67), floor: simd(0x68), trunc: simd(0x69), nearest: simd(0x6a), abs: simd(0xe0), neg: simd(0xe1), sqrt: simd(0xe3),
    convert_i32x4_s: simd(0xfa), convert_i32x4_u: simd(0xfb), demote_f64x2_zero: simd(0x5e),
  },
  binary: {
    eq: simd(0x41), ne: simd(0x42), lt: simd(0x43), gt: simd(0x44), le: simd(0x45), ge: simd(0x46),
    add: simd(0xe4), sub: simd(0xe5), mul: simd(0xe6), div: simd(0xe7),
    min: simd(0xe8), max: simd(0xe9), pmin: simd(0xea), pmax: simd(0xeb),
  },
} as const;

export const f64x2 = {
  splat: simd(0x14), extract: simd(0x21), replace: simd(0x22), relaxedMadd: simd(0x107),
  unary: {
    ceil: simd(0x74), floor: simd(0x75), trunc: simd(0x7a), nearest: simd(0x94), abs: simd(0xec), neg: simd(0xed), sqrt: simd(0xef),
    promote_low_f32x4: simd(0x5f), convert_low_i32x4_s: simd(0xfe), convert_low_i32x4_u: simd(0xff),
  },
  binary: {
    eq: simd(0x47), ne: simd(0x48), lt: simd(0x49), gt: simd(0x4a), le: simd(0x4b), ge: simd(0x4c),
    add: simd(0xf0), sub: simd(0xf1), mul: simd(0xf2), div: simd(0xf3),
    min: simd(0xf4), max: simd(0xf5), pmin: simd(0xf6), pmax: simd(0xf7),
  },
} as const;
