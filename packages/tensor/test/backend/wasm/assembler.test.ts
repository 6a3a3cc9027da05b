import { expect, test } from "vitest";
import {
  assemble,
  call,
  f32,
  f32x4,
  f64,
  f64x2,
  i32,
  i32x4,
  i64,
  i64x2,
  memory,
  select,
  v128,
  type Expr,
  type Func,
  type Local,
  type Module,
  type Type,
} from "../../../src/backend/wasm/assembler.ts";
import { detectFeatures } from "../../../src/backend/wasm/features.ts";

const plain = { shared: false, relaxedMadd: false };

/** Assembles one exported function `run` over a memory of one page, and runs it. */
function evaluate<P extends Record<string, Type>, R extends Type>(
  parameters: P,
  result: R,
  body: (f: Func, parameters: { [K in keyof P]: Local<P[K]> }, m: Module) => void,
  options = plain,
) {
  const bytes = assemble(options, (m) => {
    m.importMemory("env", "memory");
    const twice = m.importFunction("math", "twice", ["f64"], "f64");
    m.define({ x: "f64" }, "f64", (f, { x }) => f.return(call(twice, x)), "callsTwice");
    m.define(parameters, result, (f, p) => body(f, p, m), "run");
  });
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: options.shared });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), {
    env: { memory },
    math: { twice: (x: number) => 2 * x },
  });
  return { memory, exports, run: exports["run"] as (...inputs: (number | bigint)[]) => number };
}

test("integer arithmetic agrees with JavaScript's own", () => {
  const cases: [
    keyof typeof i32 & ("add" | "sub" | "mul" | "and" | "or" | "xor" | "shl" | "shr_s" | "shr_u"),
    (a: number, b: number) => number,
  ][] = [
    ["add", (a, b) => (a + b) | 0],
    ["sub", (a, b) => (a - b) | 0],
    ["mul", Math.imul],
    ["and", (a, b) => a & b],
    ["or", (a, b) => a | b],
    ["xor", (a, b) => a ^ b],
    ["shl", (a, b) => a << b],
    ["shr_s", (a, b) => a >> b],
    ["shr_u", (a, b) => (a >>> b) | 0],
  ];
  const numbers = [0, 1, -1, 5, 63, 64, 127, 128, -64, -65, -128, 8191, -8192, 2 ** 31 - 1, -(2 ** 31)];
  for (const [name, expected] of cases) {
    for (const b of numbers) {
      const { run } = evaluate({ a: "i32" }, "i32", (f, { a }) => f.return(i32[name](a, b)));
      expect(numbers.map((a) => run(a))).toEqual(numbers.map((a) => expected(a, b)));
    }
  }
});

test("every operation of every table assembles to a valid module", () => {
  const spaces = { i32, i64, f32, f64, i32x4, i64x2, f32x4, f64x2 };
  const natural: Record<string, Type> = {
    i32: "i32",
    i64: "i64",
    f32: "f32",
    f64: "f64",
    i32x4: "v128",
    i64x2: "v128",
    f32x4: "v128",
    f64x2: "v128",
  };
  const separately =
    /load|store|atomic|const|splat|extract$|replace|madd|wrap|trunc_sat_f(32|64)_|extend_i32|convert_i\d+_|reinterpret|demote_f64$|promote_f32|^sh[lr]/;
  for (const [space, table] of Object.entries(spaces)) {
    for (const [name, make] of Object.entries(table).filter(([name]) => !separately.test(name))) {
      const bytes = assemble(plain, (m) => {
        m.define({ x: natural[space]! }, "void", (f, { x }) => f.drop((make as (...x: Expr[]) => Expr)(x, x, x)));
      });
      expect(WebAssembly.validate(bytes), `${space}.${name}`).toBe(true);
    }
  }
});

test("conversions, lanes and memory operations assemble to a valid module", () => {
  const bytes = assemble({ shared: true, relaxedMadd: detectFeatures().relaxedMadd }, (m) => {
    m.importMemory("env", "memory");
    m.define({ i: "i32", l: "i64", s: "f32", d: "f64", v: "v128" }, "void", (f, { i, l, s, d, v }) => {
      const values: Expr[] = [
        i32.wrap_i64(l),
        i32.reinterpret_f32(s),
        i32.trunc_sat_f32_s(s),
        i32.trunc_sat_f32_u(s),
        i32.trunc_sat_f64_s(d),
        i32.trunc_sat_f64_u(d),
        i64.extend_i32_s(i),
        i64.extend_i32_u(i),
        i64.reinterpret_f64(d),
        i64.trunc_sat_f64_s(d),
        i64.const(-5),
        f32.convert_i32_s(i),
        f32.convert_i32_u(i),
        f32.demote_f64(d),
        f32.reinterpret_i32(i),
        f64.convert_i32_s(i),
        f64.convert_i32_u(i),
        f64.convert_i64_s(l),
        f64.promote_f32(s),
        f64.reinterpret_i64(l),
        i32x4.splat(i),
        i64x2.splat(l),
        f32x4.splat(s),
        f64x2.splat(d),
        f32x4.extract(v, 3),
        i32x4.extract(v, 1),
        f64x2.extract(v, 1),
        i64x2.extract(v, 0),
        f32x4.replace(v, 3, s),
        i32x4.replace(v, 1, i),
        f64x2.replace(v, 1, d),
        i64x2.replace(v, 0, l),
        i32x4.shl(v, i),
        i32x4.shr_s(v, 3),
        i32x4.shr_u(v, 3),
        i64x2.shl(v, 1),
        f32x4.madd(v, v, 2),
        f64x2.madd(v, 2, v),
        i32.load(i, 4),
        i32.load8_s(i),
        i32.load8_u(i),
        i32.load16_s(i),
        i32.load16_u(i),
        i64.load(i),
        f32.load(i, 8, 1),
        f64.load(i),
        v128.load(i, 16),
        v128.load8_splat(i),
        v128.load16_splat(i),
        v128.load32_splat(i),
        v128.load64_splat(i),
        v128.load32_zero(i),
        v128.load64_zero(i),
        v128.load8x8_u(i),
        v128.load32x2_s(i),
        v128.load8_lane(i, v, 15),
        v128.load16_lane(i, v, 7),
        v128.load32_lane(i, v, 3),
        v128.load64_lane(i, v, 1),
        v128.not(v),
        v128.any_true(v),
        v128.bitselect(v, v, v),
        v128.swizzle(v, v),
        i32.atomicLoad(i),
        i32.atomicAdd(i, 1, 4),
        i32.atomicWait(i, 0, -1),
        i32.atomicNotify(i, 1),
      ];
      const effects: Expr<"void">[] = [
        i32.store(i, 1),
        i32.store8(i, 1),
        i32.store16(i, 1),
        i64.store(i, 1),
        f32.store(i, 1),
        f64.store(i, 1),
        v128.store(i, v, 16),
        v128.store8_lane(i, v, 15),
        v128.store16_lane(i, v, 7),
        v128.store32_lane(i, v, 3),
        v128.store64_lane(i, v, 1),
        i32.atomicStore(i, 1),
        memory.fill(i, 0, 16),
        memory.copy(i, i, 16),
      ];
      values.forEach(f.drop);
      effects.forEach(f.do);
    });
  });
  expect(WebAssembly.validate(bytes)).toBe(true);
});

test("a for loop runs while its counter is below the end, and not at all when it starts there", () => {
  const { run } = evaluate({ n: "i32" }, "i32", (f, { n }) => {
    const [i, sum] = [f.local("i32"), f.local("i32")];
    f.for(i, 0, n, 2, () => f.set(sum, i32.add(sum, i)));
    f.return(sum);
  });
  expect([-1, 0, 1, 2, 7, 8].map((n) => run(n))).toEqual([0, 0, 0, 0, 12, 12]);
});

test("branches reach the block or loop they name, whatever lies between", () => {
  const { run } = evaluate({ n: "i32" }, "i32", (f, { n }) => {
    const steps = f.let(i32.const(0));
    f.block((done) =>
      f.loop((again) => {
        f.if(i32.le_s(n, 1), () => f.br(done));
        f.set(steps, i32.add(steps, 1));
        f.if(
          i32.and(n, 1),
          () => f.set(n, i32.add(i32.mul(n, 3), 1)),
          () => f.set(n, i32.shr_u(n, 1)),
        );
        f.br(again);
      }),
    );
    f.return(steps);
  });
  expect(run(27)).toBe(111);
});

test("functions call each other and the functions they import", () => {
  const { exports, run } = evaluate({ x: "f64" }, "f64", (f, { x }, m) => {
    const square = m.define({ x: "f64" }, "f64", (g, p) => g.return(f64.mul(p.x, p.x)));
    f.return(f64.add(call(square, x), 1));
  });
  expect(run(3)).toBe(10);
  expect((exports["callsTwice"] as (x: number) => number)(3)).toBe(6);
});

test("vector constants, shuffles and selects put each lane where it belongs", () => {
  const {
    run,
    memory: { buffer },
  } = evaluate({ flag: "i32" }, "i32", (f, { flag }) => {
    const x = f.let(v128.load(i32.const(0)));
    const swapped = v128.shuffle32(x, f32x4.const(9), [1, 0, 4, 3]);
    f.do(v128.store(i32.const(16), f32x4.add(select(flag, swapped, x), 0.5)));
    f.return(i32.const(0));
  });
  new Float32Array(buffer).set([1, 2, 3, 4]);
  run(1);
  expect([...new Float32Array(buffer, 16, 4)]).toEqual([2.5, 1.5, 9.5, 4.5]);
  run(0);
  expect([...new Float32Array(buffer, 16, 4)]).toEqual([1.5, 2.5, 3.5, 4.5]);
});

test("atomics work on a shared memory", () => {
  const { run, memory } = evaluate({ n: "i32" }, "i32", (f, { n }) => f.return(i32.atomicAdd(i32.const(8), n)), {
    shared: true,
    relaxedMadd: false,
  });
  expect([run(5), run(6), new Int32Array(memory.buffer)[2]]).toEqual([0, 5, 11]);
});

test("a module emitted without relaxed SIMD contains none", () => {
  const emit = (relaxedMadd: boolean) =>
    assemble({ shared: false, relaxedMadd }, (m) => {
      m.define({ x: "v128" }, "v128", (f, { x }) => f.return(f32x4.madd(x, x, x)));
    });
  const relaxedOpcode = "253,133,2";
  expect([...emit(true)].join()).toContain(relaxedOpcode);
  expect([...emit(false)].join()).not.toContain(relaxedOpcode);
});

test("this engine has SIMD", () => {
  expect(detectFeatures().simd).toBe(true);
});
