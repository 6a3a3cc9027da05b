/**
 * The functions that generated WGSL may call, by name. WGSL's own transcendentals may be off by 1e-4 and its compilers may assume
 * that no value is NaN or infinite: these are polynomials of our own (Chebyshev fits made in f64), they test for NaN by its bits,
 * and they make infinities and NaN from run-time values, since WGSL rejects constant expressions that are not finite.
 *
 * Every transformation is safe under contraction to fused multiply-add. Errors are within 4 units in the last place unless a
 * comment says otherwise; results below 2^-126 may be flushed to 0.
 */
const library: Readonly<Record<string, string>> = {
  // Beyond 65504 a conversion may give anything finite or not: what is rounded there is infinite.
  round_f16: `fn round_f16(x: f32) -> f32 {
  if (abs(x) >= 65520.0) { return select_f32(x > 0.0, infinity(), -infinity()); }
  return f32(f16(x));
}`,
  bounded_f16: `fn bounded_f16(x: vec4<f32>) -> vec4<f32> {
  let bits = bitcast<vec4<u32>>(x);
  return bitcast<vec4<f32>>(select(bits, (bits & vec4(0x80000000u)) | vec4(0x7f800000u), abs(x) >= vec4(65520.0)));
}`,
  is_nan: `fn is_nan(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }`,
  is_finite: `fn is_finite(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) < 0x7f800000u; }`,
  ordered: `fn ordered(a: f32, b: f32) -> bool { return !is_nan(a) & !is_nan(b); }`,
  infinity: `fn infinity() -> f32 { var bits = 0x7f800000u; return bitcast<f32>(bits); }`,
  not_a_number: `fn not_a_number() -> f32 { var bits = 0x7fc00000u; return bitcast<f32>(bits); }`,
  select_f32: `fn select_f32(condition: bool, a: f32, b: f32) -> f32 {
  return bitcast<f32>(select(bitcast<u32>(b), bitcast<u32>(a), condition));
}`,
  max_f32: `fn max_f32(a: f32, b: f32) -> f32 { return select_f32(is_nan(a) | (!is_nan(b) & (a > b)), a, b); }`,
  min_f32: `fn min_f32(a: f32, b: f32) -> f32 { return select_f32(is_nan(a) | (!is_nan(b) & (a < b)), a, b); }`,
  sign_f32: `fn sign_f32(x: f32) -> f32 {
  if (is_nan(x)) { return x; }
  return select(select(x, -1.0, x < 0.0), 1.0, x > 0.0);
}`,
  sqrt_f32: `fn sqrt_f32(x: f32) -> f32 {
  if (is_nan(x) || x < 0.0) { return not_a_number(); }
  return sqrt(x);
}`,
  rsqrt_f32: `fn rsqrt_f32(x: f32) -> f32 {
  if (is_nan(x) || x < 0.0) { return not_a_number(); }
  if (x == 0.0) { return infinity(); }
  return inverseSqrt(x);
}`,
  relu_f32: `fn relu_f32(x: f32) -> f32 { return select_f32(is_nan(x) || x > 0.0, x, 0.0); }`,
  to_i32: `fn to_i32(x: f32) -> i32 {
  if (is_nan(x)) { return 0; }
  if (x >= 2147483648.0) { return 2147483647; }
  if (x <= -2147483648.0) { return -2147483647 - 1; }
  return i32(x);
}`,
  to_u32: `fn to_u32(x: f32) -> u32 {
  if (is_nan(x) || x <= 0.0) { return 0u; }
  if (x >= 4294967296.0) { return 4294967295u; }
  return u32(x);
}`,

  // x·2^n for |n| <= 252, in two steps so that each factor is a normal number.
  scale: `fn scale(x: f32, n: i32) -> f32 {
  let half = n >> 1u;
  return x * bitcast<f32>((half + 127) << 23u) * bitcast<f32>((n - half + 127) << 23u);
}`,
  // A number as x·2^y with |x| in [1, 2); 0, infinities and NaN as they are.
  split_f32: `fn split_f32(value: f32) -> vec2<f32> {
  if (value == 0.0 || !is_finite(value)) { return vec2(value, 0.0); }
  let tiny = abs(value) < 1.17549435e-38;
  let bits = bitcast<u32>(select(value, value * 16777216.0, tiny));
  let exponent = i32((bits >> 23u) & 0xffu) - select(127, 151, tiny);
  return vec2(bitcast<f32>((bits & 0x807fffffu) | 0x3f800000u), f32(exponent));
}`,
  multiply_split: `fn multiply_split(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
  let parts = split_f32(a.x * b.x);
  return vec2(parts.x, parts.y + a.y + b.y);
}`,
  join_f32: `fn join_f32(parts: vec2<f32>) -> f32 { return scale(parts.x, i32(clamp(parts.y, -252.0, 252.0))); }`,
  // x - n·by, where that is small: a first step, exact, of a reduction in several. A compiler may make one step of two, but not across
  // a clamp.
  reduce: `fn reduce(x: f32, n: f32, by: f32) -> f32 { return clamp(fma(n, -by, x), -1.0, 1.0); }`,
  // (exp(r) - 1 - r)/r² for |r| <= 0.35.
  exp_rest: `fn exp_rest(r: f32) -> f32 {
  return fma(r, fma(r, fma(r, fma(r, fma(r, 0.000199004309, 0.00139345345), 0.00833329745), 0.0416664556), 0.166666672), 0.5);
}`,
  // 2^n for whole n in -126..127: the sum's last bits are n + 127. A program on the CPU shifts each lane by itself, but multiplies four at once.
  power_of_two: `fn power_of_two(n: f32) -> f32 { return bitcast<f32>(bitcast<i32>(n + 12583039.0) * 8388608); }`,
  // exp(x)·exp(extra) for a small correction; the reduction x - n·ln 2 has no rounding in its first step. Beyond the bounds the
  // result overflows or vanishes by itself: no branches.
  exp_parts: `fn exp_parts(x: f32, extra: f32) -> f32 {
  let bounded = clamp(x, -105.0, 90.0);
  let n = floor(fma(bounded, 1.44269504, 0.5));
  let r = fma(n, 2.12194440e-4, reduce(bounded, n, 0.693359375)) + extra;
  let half = floor(n * 0.5);
  let value = 1.0 + fma(r * r, exp_rest(r), r);
  return select_f32(is_nan(x), x, value * power_of_two(half) * power_of_two(n - half));
}`,
  exp_f32: `fn exp_f32(x: f32) -> f32 { return exp_parts(x, 0.0); }`,
  expm1_f32: `fn expm1_f32(x: f32) -> f32 {
  if (is_nan(x)) { return x; }
  if (x > 80.0) { return exp_f32(x); }
  if (x < -18.0) { return -1.0; }
  let n = round(x * 1.44269504);
  let r = fma(n, 2.12194440e-4, reduce(x, n, 0.693359375));
  let small = fma(r * r, exp_rest(r), r);
  if (n == 0.0) { return small; }
  let power = scale(1.0, i32(n));
  return fma(power, small, power - 1.0);
}`,
  // (log(1 + f) - f + f²/2)/f³ on [√½ - 1, √2 - 1].
  log_rest: `fn log_rest(f: f32) -> f32 {
  let high = fma(f, fma(f, fma(f, fma(f, 0.0714975372, -0.115712009), 0.116615109), -0.124110505), 0.142499372);
  return fma(f, fma(f, fma(f, fma(f, high, -0.166684806), 0.200007081), -0.249999896), 0.333333313);
}`,
  // log(1 + f) + e·ln 2, where e is a small integer.
  log_parts: `fn log_parts(f: f32, e: f32) -> f32 {
  let square = f * f;
  let rest = fma(square * f, log_rest(f), e * -2.12194440e-4);
  return fma(e, 0.693359375, f + fma(square, -0.5, rest));
}`,
  log_f32: `fn log_f32(x: f32) -> f32 {
  if (is_nan(x) || x < 0.0) { return not_a_number(); }
  if (x == 0.0) { return -infinity(); }
  if (!is_finite(x)) { return x; }
  let tiny = x < 1.17549435e-38;
  let bits = bitcast<i32>(select(x, x * 16777216.0, tiny)) - 0x3f3504f3;
  let e = f32(bits >> 23u) - select(0.0, 24.0, tiny);
  return log_parts(bitcast<f32>((bits & 0x7fffff) + 0x3f3504f3) - 1.0, e);
}`,
  log1p_f32: `fn log1p_f32(x: f32) -> f32 {
  if (x > -0.29 && x < 0.41) { return log_parts(x, 0.0); }
  return log_f32(1.0 + x);
}`,
  tanh_f32: `fn tanh_f32(x: f32) -> f32 {
  if (is_nan(x)) { return x; }
  let e = expm1_f32(2.0 * min(abs(x), 10.0));
  return select(e / (e + 2.0), -e / (e + 2.0), x < 0.0);
}`,
  sigmoid_f32: `fn sigmoid_f32(x: f32) -> f32 {
  let e = exp_f32(-abs(x));
  return select(1.0, e, x < 0.0) / (1.0 + e);
}`,
  softplus_f32: `fn softplus_f32(x: f32) -> f32 {
  if (is_nan(x)) { return x; }
  return max(x, 0.0) + log1p_f32(exp_f32(-abs(x)));
}`,

  multiply_high: `fn multiply_high(a: u32, b: u32) -> u32 {
  let low = (a & 0xffffu) * (b & 0xffffu);
  let middle = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
  let other = (a & 0xffffu) * (b >> 16u) + (middle & 0xffffu);
  return (a >> 16u) * (b >> 16u) + (middle >> 16u) + (other >> 16u);
}`,
  // A large |x| in quarter turns, by Payne and Hanek: the mantissa times those 96 bits of 2/π that matter modulo 4. Returns the
  // rest in (-π/4, π/4) and how many quarter turns, modulo 4.
  reduce_large: `fn reduce_large(x: f32) -> vec2<f32> {
  var bits_of_two_over_pi = array<u32, 8>(
    0u, 0xa2f9836eu, 0x4e441529u, 0xfc2757d1u, 0xf534ddc0u, 0xdb629599u, 0x3c439041u, 0xfe5163abu);
  let bits = bitcast<u32>(x);
  let mantissa = (bits & 0x7fffffu) | 0x800000u;
  let first = ((bits >> 23u) & 0xffu) - 120u;
  let word = first >> 5u;
  let shift = first & 31u;
  var w = array<u32, 3>();
  for (var i = 0u; i < 3u; i++) {
    let next = select(bits_of_two_over_pi[word + i + 1u] >> (32u - max(shift, 1u)), 0u, shift == 0u);
    w[i] = (bits_of_two_over_pi[word + i] << shift) | next;
  }
  let carried = multiply_high(mantissa, w[2]);
  let low = mantissa * w[1] + carried;
  let high = mantissa * w[0] + multiply_high(mantissa, w[1]) + select(0u, 1u, low < carried);
  let fraction = bitcast<i32>((high << 2u) | (low >> 30u));
  let turns = (high >> 30u) + select(0u, 1u, fraction < 0);
  let rest = f32(fraction) * 2.32830644e-10 + f32(low << 2u) * 5.42101086e-20;
  return vec2(rest * 1.57079633, f32(turns & 3u));
}`,
  // x - n·π/2 in three steps, for |x| up to 200; and n.
  reduce_small: `fn reduce_small(x: f32) -> vec2<f32> {
  let n = round(x * 0.636619772);
  return vec2(fma(n, -7.54978995e-8, reduce(reduce(x, n, 1.5703125), n, 4.83751297e-4)), n);
}`,
  reduce_angle: `fn reduce_angle(x: f32) -> vec2<f32> {
  if (abs(x) < 200.0) { return reduce_small(x); }
  let reduced = reduce_large(x);
  return select(reduced, -reduced, x < 0.0);
}`,
  sin_cos: `fn sin_cos(x: f32, turn: i32) -> f32 {
  if (!is_finite(x)) { return not_a_number(); }
  let reduced = reduce_angle(x);
  let r = reduced.x;
  let u = r * r;
  let sine = fma(r * u, fma(u, fma(u, fma(u, 2.72434477e-6, -0.000198400361), 0.00833333191), -0.166666672), r);
  let cosine = fma(u * u, fma(u, fma(u, 2.45426163e-5, -0.0013888278), 0.0416666642), fma(u, -0.5, 1.0));
  let quadrant = (i32(reduced.y) + turn) & 3;
  let value = select(sine, cosine, (quadrant & 1) == 1);
  return select(value, -value, quadrant >= 2);
}`,
  sin_f32: `fn sin_f32(x: f32) -> f32 { return sin_cos(x, 0); }`,
  cos_f32: `fn cos_f32(x: f32) -> f32 { return sin_cos(x, 1); }`,
  tan_f32: `fn tan_f32(x: f32) -> f32 { return sin_cos(x, 0) / sin_cos(x, 1); }`,

  // The part of x whose square is exact.
  head: `fn head(x: f32) -> f32 { return bitcast<f32>(bitcast<u32>(x) & 0xfffff000u); }`,
  // exp(-half·x²), half 1 or 1/2. Rounding x² would cost x²/2 units.
  gaussian: `fn gaussian(x: f32, half: f32) -> f32 {
  let h = head(x);
  return exp_parts(-half * h * h, -half * (x - h) * (x + h));
}`,
  // exp(x²)·erfc(x) for x in [0.5, 10.2].
  scaled_erfc: `fn scaled_erfc(x: f32) -> f32 {
  let t = (x - 3.0) / (x + 3.0);
  let high = fma(t, fma(t, fma(t, fma(t, fma(t, 6.03279877e-5, -0.000258568383), -0.000517677574), 0.00303038047), -0.00122037472), -0.0268269721);
  return fma(t, fma(t, fma(t, fma(t, fma(t, high, 0.119528644), -0.310467273), 0.590228319), -0.88339448), 1.07400692) / (x + 3.0);
}`,
  // erf(x)/x in x², for |x| <= 1.
  erf_ratio: `fn erf_ratio(u: f32) -> f32 {
  let high = fma(u, fma(u, fma(u, -9.67358937e-6, 0.00011268253), -0.000848439639), 0.00522105349);
  return fma(u, fma(u, fma(u, fma(u, high, -0.0268654376), 0.112837829), -0.376126379), 1.12837923);
}`,
  erf_f32: `fn erf_f32(x: f32) -> f32 {
  if (is_nan(x)) { return x; }
  let a = abs(x);
  if (a <= 1.0) { return x * erf_ratio(x * x); }
  let value = select(1.0 - gaussian(a, 1.0) * scaled_erfc(min(a, 10.0)), 1.0, a > 4.0);
  return select(value, -value, x < 0.0);
}`,
  normal_cdf: `fn normal_cdf(x: f32) -> f32 {
  if (is_nan(x)) { return x; }
  let a = abs(x);
  let z = a * 0.707106781;
  if (z < 0.5) { return fma(0.353553391 * x, erf_ratio(z * z), 0.5); }
  let tail = select(0.5 * gaussian(a, 0.5) * scaled_erfc(min(z, 10.0)), 0.0, a > 14.5);
  return select(tail, 1.0 - tail, x > 0.0);
}`,

  // a^b = exp(b·log a) with log a in two parts, so that the error of the product stays below that of exp. What a sum loses is found by
  // taking the sum's head from its terms: compilers may assume that (a + b) - a is b, but they do not see through a head.
  pow_positive: `fn pow_positive(a: f32, b: f32) -> f32 {
  let tiny = a < 1.17549435e-38;
  let bits = bitcast<i32>(select(a, a * 16777216.0, tiny)) - 0x3f3504f3;
  let e = f32(bits >> 23u) - select(0.0, 24.0, tiny);
  let f = bitcast<f32>((bits & 0x7fffff) + 0x3f3504f3) - 1.0;
  let fh = head(f);
  let square = -0.5 * fh * fh;
  let top = head(f + square);
  let rest = fma(f * f * f, log_rest(f), fma(-0.5 * (f - fh), f + fh, (f - top) + square));
  let whole = e * 0.693359375;
  let high = head(whole + top);
  let tail = ((whole - high) + top) + fma(e, -2.12194440e-4, rest);
  let bh = head(b);
  let product = bh * high;
  let extra = fma(b - bh, high, b * tail);
  if (product + extra > 90.0) { return infinity(); }
  if (product + extra < -105.0) { return 0.0; }
  return exp_parts(product, extra);
}`,
  pow_f32: `fn pow_f32(a: f32, b: f32) -> f32 {
  if (b == 0.0 && !is_nan(b)) { return 1.0; }
  if (is_nan(a) || is_nan(b)) { return not_a_number(); }
  let size = abs(a);
  let odd = abs(b) < 16777216.0 && floor(b) == b && (i32(b) & 1) == 1;
  if (!is_finite(b)) {
    if (size == 1.0) { return not_a_number(); }
    return select_f32((size > 1.0) == (b > 0.0), infinity(), 0.0);
  }
  let negative = (bitcast<u32>(a) >> 31u) == 1u;
  var value = 1.0;
  if (size == 0.0) { value = select_f32(b > 0.0, 0.0, infinity()); }
  else if (!is_finite(a)) { value = select_f32(b > 0.0, infinity(), 0.0); }
  else if (negative && floor(b) != b) { return not_a_number(); }
  else if (size != 1.0) { value = pow_positive(size, b); }
  return select_f32(negative && odd, -value, value);
}`,

  // The exact remainder by long division: each step subtracts the largest b·2^k that fits.
  mod_f32: `fn mod_f32(a: f32, b: f32) -> f32 {
  let divisor = abs(b);
  if (!is_finite(a) || is_nan(b) || divisor == 0.0) { return not_a_number(); }
  var rest = abs(a);
  if (is_finite(b)) {
    for (var step = 0; step < 300 && rest >= divisor; step++) {
      let gap = i32(bitcast<u32>(rest) >> 23u) - i32(bitcast<u32>(divisor) >> 23u);
      let part = scale(divisor, gap);
      rest -= select(part, scale(divisor, gap - 1), part > rest);
    }
  }
  let signed = select(rest, -rest, a < 0.0);
  return select(signed, signed + b, rest != 0.0 && (a < 0.0) != (b < 0.0));
}`,
  mod_i32: `fn mod_i32(a: i32, b: i32) -> i32 {
  if (b == 0 || b == -1) { return 0; }
  let rest = a % b;
  return select(rest, rest + b, rest != 0 && (rest < 0) != (b < 0));
}`,
  mod_u32: `fn mod_u32(a: u32, b: u32) -> u32 {
  if (b == 0u) { return 0u; }
  return a % b;
}`,
  shift_left: `fn shift_left(a: u32, by: u32, none: bool) -> u32 { return select(a << (by & 31u), 0u, none); }`,
  shift_right: `fn shift_right(a: u32, by: u32, none: bool) -> u32 { return select(a >> (by & 31u), 0u, none); }`,

  // An order-preserving map of the numbers to u32, for sorting: NaN comes last, both zeros are one.
  order_f32: `fn order_f32(x: f32, descending: bool) -> u32 {
  let bits = bitcast<u32>(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) { return 0xffffffffu; }
  let key = select(bits | 0x80000000u, select(~bits, 0x80000000u, bits == 0x80000000u), bits >= 0x80000000u);
  return select(key, ~key, descending);
}`,
  order_i32: `fn order_i32(x: i32, descending: bool) -> u32 {
  let key = bitcast<u32>(x) ^ 0x80000000u;
  return select(key, ~key, descending);
}`,
  order_u32: `fn order_u32(x: u32, descending: bool) -> u32 { return select(x, ~x, descending); }`,
};

/** The functions of the library that code calls, and those they call, in an order that reads well. */
export function libraryFor(code: string): string {
  const wanted = new Set<string>();
  const visit = (text: string): void => {
    for (const [, name] of text.matchAll(/\b([a-z]\w*)\(/g)) {
      if (!(name in library) || wanted.has(name)) continue;
      visit(library[name].replace(`fn ${name}(`, ""));
      wanted.add(name);
    }
  };
  visit(code);
  return [...wanted].map((name) => library[name]).join("\n");
}
