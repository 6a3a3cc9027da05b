import { runInNewContext } from "node:vm";
import { afterEach, expect, test } from "vitest";
import { i32, type Func, type I32 } from "../../../src/backend/wasm/assembler.ts";
import { createParts } from "../../../src/backend/wasm/backend.ts";
import { detectFeatures } from "../../../src/backend/wasm/features.ts";
import type { Launch, Word } from "../../../src/backend/wasm/launch.ts";
import { compileProgram, writeRun, type Program } from "../../../src/backend/wasm/program.ts";
import { eachItem, int, launch } from "../../../src/backend/wasm/routines/routine.ts";
import { createThreads } from "../../../src/backend/wasm/threads.ts";
import { layout } from "../../../src/backend/wasm/walker.ts";
import { workerSource } from "../../../src/backend/wasm/workers.ts";
import type { Kernel, Plan } from "../../../src/schedule/plan.ts";
import { contiguous } from "./planHarness.ts";

const features = detectFeatures();
const size = 40_000;

type Parts = ReturnType<typeof createParts>;
const started: Parts[] = [];
const start = (workers: number): Parts => {
  const parts = createParts(features, workers);
  started.push(parts);
  return parts;
};
afterEach(() => Promise.all(started.splice(0).map((parts) => parts.executor.shutdown())));

const buffer = (index: number): Word => ({ kind: "buffer", buffer: index, offset: 0 });

/** `to[i] = f(from[i])` over i32, in tiles of `share`. */
function mapLaunch(name: string, from: number, to: number, f: (x: I32, build: Func) => I32, share = 100): Launch {
  const words = { from: buffer(from), to: buffer(to), share: int(share), items: int(size) };
  return launch(features, name, words, Math.ceil(size / share), (context) => {
    const { w, f: build } = context;
    eachItem(context, w, (i) => {
      const at = (base: I32): I32 => i32.add(base, i32.shl(i, 2));
      build.do(i32.store(at(w.to), f(i32.load(at(w.from)), build)));
    });
  });
}

/** A kernel that reads one buffer and writes another; what it computes is up to its launch. */
function touches(name: string, from: number, to: number): Kernel {
  const { view } = contiguous(to, { shape: [size], dtype: "i32" });
  const stage = {
    kind: "map",
    over: "outer",
    body: [{ op: "load", dtype: "i32", buffer: from, view }],
    stores: [{ buffer: to, view, value: 0 }],
  } as const;
  return { kind: "loop", name, outer: [size], row: [], stages: [stage] };
}

interface Link {
  name: string;
  from: number;
  to: number;
  launch: Launch;
}

const link = (name: string, from: number, to: number, f: (x: I32, build: Func) => I32): Link => ({
  name,
  from,
  to,
  launch: mapLaunch(name, from, to, f),
});

/** Buffer 0 is the leaf, 1 the root, the others temporaries for the whole plan. */
function planOf(links: readonly Link[]): Plan {
  const most = Math.max(...links.map((l) => Math.max(l.from, l.to)));
  const until = links.length - 1;
  const temporaries = Array.from({ length: most - 1 }, () => ({ kind: "temporary", from: 0, until }) as const);
  const sources = [{ kind: "leaf", index: 0 } as const, { kind: "root", index: 0 } as const, ...temporaries];
  return {
    buffers: sources.map((source) => ({ dtype: "i32", size, source })),
    kernels: links.map(({ name, from, to }) => touches(name, from, to)),
    numbers: [],
  };
}

interface Compiled {
  readonly plan: Plan;
  readonly program: Program;
}

/** Enough work to be worth waking the workers. */
function compile({ modules, executor }: Parts, links: readonly Link[], work = 1e9): Compiled {
  const plan = planOf(links);
  const lower = (kernel: Kernel) => ({ launches: [links[plan.kernels.indexOf(kernel)].launch], temporaries: [] });
  return { plan, program: { ...compileProgram(plan, lower, modules.numberOf, executor.threads), work } };
}

async function run(parts: Parts, { plan, program }: Compiled): Promise<Int32Array> {
  const { heap, executor } = parts;
  const leaf = heap.allocate(size * 4, "host");
  heap.write(
    leaf,
    Int32Array.from({ length: size }, (_, i) => i),
    "i32",
  );
  const root = heap.allocate(size * 4, "program");
  const arena = heap.allocate(Math.max(64, program.arenaBytes), "program");
  const buffers = plan.buffers.map((_, i) => [leaf.address, root.address][i] ?? 0);
  const done = executor.submit(program, { buffers, arena: arena.address, numbers: [] });
  for (const block of [leaf, arena]) executor.free(block);
  try {
    await done;
    return heap.read(root, "i32", size) as Int32Array;
  } finally {
    executor.free(root);
  }
}

/** A chain in which every step needs all that the one before wrote: it reads from the other end. */
const chain = (steps: number): Link[] =>
  Array.from({ length: steps }, (_, i) => {
    const from = i === 0 ? 0 : 2 + (i % 2);
    const to = i === steps - 1 ? 1 : 2 + ((i + 1) % 2);
    return link("add 1", from, to, (x) => i32.add(x, 1));
  });

const slow = (x: I32, f: Func): I32 => {
  const [sum, i] = [f.let(x), f.local("i32")];
  f.for(i, 0, 400, 1, () => f.set(sum, i32.add(i32.mul(sum, 1664525), 1013904223)));
  return sum;
};
const trap = (x: I32): I32 => i32.load(i32.or(x, -16), 0xfffffff);

test.each([0, 1, 2, 4])("%i workers walk a chain of dependent steps in order", async (workers) => {
  const parts = start(workers);
  const program = compile(parts, chain(101));
  const wanted = Int32Array.from({ length: size }, (_, i) => i + 101);
  for (let i = 0; i < 3; i++) expect(await run(parts, program)).toEqual(wanted);
});

test("four threads on two processors do not crawl", async () => {
  const parts = start(4);
  const program = compile(parts, chain(501));
  await run(parts, program);
  const from = performance.now();
  await run(parts, program);
  expect(performance.now() - from).toBeLessThan(2000);
});

test("programs posted one after another run in order without waiting for each", async () => {
  const parts = start(2);
  const program = compile(parts, [link("slow", 0, 1, slow)]);
  const results = await Promise.all(Array.from({ length: 10 }, () => run(parts, program)));
  for (const result of results) expect(result).toEqual(results[0]);
});

test("a tiny program runs on the calling thread, so it is done when submit returns", async () => {
  const parts = start(2);
  const { program } = compile(parts, chain(3), 10);
  const { heap, executor } = parts;
  const [leaf, root, arena] = [0, 1, 2].map(() => heap.allocate(size * 8, "host"));
  heap.write(leaf, new Int32Array(size).fill(4), "i32");
  const done = executor.submit(program, {
    buffers: [leaf.address, root.address, 0, 0],
    arena: arena.address,
    numbers: [],
  });
  expect(heap.read(root, "i32", size)[size - 1]).toBe(7);
  await done;
});

test.each([0, 2])(
  "a trap with %i workers rejects with the kernel's name and what comes after works",
  async (workers) => {
    const parts = start(workers);
    const broken = compile(parts, [link("fine", 0, 2, (x) => x), link("broken", 2, 1, trap)]);
    const good = compile(parts, chain(3));
    const failing = run(parts, broken);
    const next = run(parts, good);
    await expect(failing).rejects.toThrow('wasm: kernel "broken" trapped: RuntimeError: memory access out of bounds');
    await expect(failing).rejects.toHaveProperty("name", "DeviceError");
    expect((await next)[0]).toBe(3);
    expect((await run(parts, good))[5]).toBe(8);
  },
);

test.each([0, 2])(
  "a module that cannot be linked, with %i workers, is an error of its kernel alone",
  async (workers) => {
    const parts = start(workers);
    const unlinkable: Launch = {
      ...mapLaunch("unlinkable", 0, 1, (x) => x),
      emit: () => Uint8Array.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 2, 8, 1, 1, 0x78, 1, 0x79, 2, 0, 1]),
    };
    const broken = compile(parts, [{ name: "unlinkable", from: 0, to: 1, launch: unlinkable }]);
    await expect(run(parts, broken)).rejects.toThrow('kernel "unlinkable" trapped: TypeError');
    expect((await run(parts, compile(parts, chain(3))))[0]).toBe(3);
  },
);

test("when a worker is lost all go, whoever waits is told, and the next post starts new ones", async () => {
  const { heap } = start(0);
  const told: string[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const bad = { ...heap, memory: { buffer: { byteLength: 0 } } as unknown as WebAssembly.Memory };
  const threads = createThreads({
    heap: bad,
    count: 2,
    barrier: 16,
    modules: [],
    finished: () => told.push("finished"),
    lost(reason) {
      told.push(reason.name);
      if (told.length < 2) threads.post(1024);
      else resolve();
    },
  });
  threads.post(1024);
  await promise;
  expect(told).toEqual(["RangeError", "RangeError"]);
});

test("the worker's source names nothing that a fresh script does not have", async () => {
  const port: { onmessage?: (event: { data: unknown }) => void; posted: number[]; postMessage(n: number): void } = {
    posted: [],
    postMessage: (n) => void port.posted.push(n),
  };
  runInNewContext(workerSource(), { require: () => ({ parentPort: port }), WebAssembly, Int32Array, Math, Number });
  const parts = start(0);
  const { heap, modules } = parts;
  const { plan, program } = compile(parts, chain(3));
  const [leaf, root, arena, block] = [0, 1, 2, 3].map(() => heap.allocate(size * 8, "host"));
  heap.write(leaf, new Int32Array(size).fill(5), "i32");
  const buffers = plan.buffers.map((_, i) => [leaf.address, root.address][i] ?? 0);
  writeRun(
    program,
    block.address,
    { buffers, arena: arena.address, numbers: [], threads: 1, timed: false },
    heap.views(),
  );
  port.onmessage!({ data: { memory: heap.memory, barrier: 16, scratch: arena.address, first: true } });
  const known = modules.compiled.map((module, i) => [i, module]);
  port.onmessage!({ data: { modules: known, program: block.address / 4, memoryBytes: 0 } });
  expect(port.posted).toEqual([block.address / 4]);
  expect(heap.read(root, "i32", size)[9]).toBe(8);
});

test("steps that touch nothing of each other's have no barrier between them", () => {
  const parts = start(2);
  const links = [
    link("a", 0, 2, (x) => x),
    link("b", 0, 3, (x) => x),
    link("c", 2, 4, (x) => x),
    link("d", 3, 5, (x) => x),
    link("e", 4, 3, (x) => x),
    link("f", 3, 1, (x) => x),
  ];
  const { template } = compile(parts, links).program;
  const barriers = links.map((_, i) => template[layout.head + i * layout.record + layout.barrier]);
  // c reads what a wrote; d joins c; e reads what c wrote and overwrites what d read.
  expect(barriers).toEqual([0, 0, 1, 0, 1, 1]);
});

test("steps too small to share run one after another on one thread, with no barrier among them", async () => {
  const parts = start(2);
  const whole = (from: number, to: number): Link => {
    const launch = mapLaunch("whole", from, to, (x) => i32.add(x, 1), size);
    return { name: "whole", from, to, launch };
  };
  const links = [whole(0, 2), whole(2, 3), link("wide", 3, 4, (x) => i32.add(x, 1)), whole(4, 2), whole(2, 1)];
  const compiled = compile(parts, links);
  const { template } = compiled.program;
  const column = (at: number): number[] => links.map((_, i) => template[layout.head + i * layout.record + at]);
  expect(column(layout.narrow)).toEqual([1, 1, 0, 1, 1]);
  expect(column(layout.barrier)).toEqual([0, 0, 1, 1, 0]);
  expect((await run(parts, compiled))[10]).toBe(15);
});

test("numbers and offsets arrive in the argument block, an f64 in two words", () => {
  const parts = start(0);
  const words: Word[] = [
    { kind: "number", slot: 0 },
    { kind: "number", slot: 1 },
    { kind: "buffer", buffer: 0, offset: 3 },
    { kind: "int", value: -7 },
    { kind: "number", slot: 2 },
  ];
  const base = mapLaunch("words", 0, 1, (x) => x);
  const plan: Plan = { ...planOf([link("words", 0, 1, (x) => x)]), numbers: ["f32", "f64", "bool"] };
  const lower = () => ({ launches: [{ ...base, args: words }], temporaries: [] });
  const program = compileProgram(plan, lower, parts.modules.numberOf, 1);
  const block = parts.heap.allocate(program.template.byteLength, "host");
  const views = parts.heap.views();
  writeRun(
    program,
    block.address,
    { buffers: [4096, 0], arena: 0, numbers: [0.5, Math.PI, 3], threads: 1, timed: false },
    views,
  );
  const record = block.address / 4 + layout.head;
  const args = views.i32.slice(views.i32[record + layout.args] / 4).slice(0, 6);
  expect(new Float32Array(args.buffer)[0]).toBe(0.5);
  expect(new Float64Array(args.slice(1, 3).buffer)[0]).toBe(Math.PI);
  expect(args.slice(3)).toEqual(Int32Array.of(4096 + 12, -7, 1));
});
