import { i32, i32x4, v128, type Func, type I32, type V128 } from "../assembler.ts";
import { sizeOf } from "../../../shape.ts";
import { at, int, launch, operand, result, smaller, type LowerRoutine } from "./routine.ts";

/** Words per tile; a multiple of 16. */
const share = 8192;

const rotations = [13, 15, 26, 6, 17, 29, 16, 24];

/** Threefry-2x32-20, eight counters at a time. */
export const randomBits: LowerRoutine<"randomBits"> = (kernel, _, features) => {
  const size = sizeOf(kernel.shape);
  const [key, stream] = kernel.operands;
  const words = { key: operand(key), stream: operand(stream), out: result(kernel), size: int(size) };
  const filled = launch(features, "randomBits", words, Math.ceil(size / share), ({ f, w, tile, scratch }) => {
    const splat = (address: I32, offset = 0): V128 => f.let(v128.load32_splat(address, offset));
    const [k0, k1] = [splat(w.key), splat(w.key, 4)];
    const keys = [k0, k1, f.let(v128.xor(v128.xor(k0, k1), 0x1bd11bda))];
    const counter = f.let(i32x4.const(0));
    for (const lane of [1, 2, 3]) f.set(counter, i32x4.replace(counter, lane, lane));
    const second = splat(w.stream);
    const i = f.local("i32");
    const end = f.let(smaller(i32.mul(i32.add(tile, 1), share), w.size));
    f.for(i, i32.mul(tile, share), end, 16, () => {
      const pairs = f.let(i32x4.add(counter, i32x4.splat(i32.shr_u(i, 1))));
      const vectors = [pairs, f.let(i32x4.add(pairs, 4))].flatMap((first) => threefry(f, keys, first, second));
      const left = f.let(i32.sub(end, i));
      const whole = i32.ge_s(left, 16);
      const to = f.let(at(w.out, i, 4));
      const store = (address: I32): void => vectors.forEach((x, n) => f.do(v128.store(address, x, 16 * n, 4)));
      f.if(
        whole,
        () => store(to),
        () => {
          store(scratch);
          const j = f.local("i32");
          f.for(j, 0, left, 1, () => f.do(i32.store(at(to, j, 4), i32.load(at(scratch, j, 4)))));
        },
      );
    });
  });
  return { launches: [filled], temporaries: [] };
};

/** Encrypts four counters; their eight words, interleaved. */
function threefry(f: Func, keys: readonly V128[], c0: V128, c1: V128): V128[] {
  const x0 = f.let(i32x4.add(c0, keys[0]));
  const x1 = f.let(i32x4.add(c1, keys[1]));
  for (let round = 0; round < 20; round++) {
    const by = rotations[round % 8];
    f.set(x0, i32x4.add(x0, x1));
    f.set(x1, v128.xor(v128.or(i32x4.shl(x1, by), i32x4.shr_u(x1, 32 - by)), x0));
    if (round % 4 === 3) {
      const s = (round + 1) / 4;
      f.set(x0, i32x4.add(x0, keys[s % 3]));
      f.set(x1, i32x4.add(i32x4.add(x1, keys[(s + 1) % 3]), s));
    }
  }
  return [
    [0, 4, 1, 5],
    [2, 6, 3, 7],
  ].map((order) => f.let(v128.shuffle32(x0, x1, order)));
}
