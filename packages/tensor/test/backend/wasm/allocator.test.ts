import fc from "fast-check";
import { expect, test } from "vitest";
import { createAllocator, type Allocator, type Writer } from "../../../src/backend/wasm/allocator.ts";
import { planArena } from "../../../src/backend/wasm/arena.ts";
import { roundToClass, type Block } from "../../../src/backend/wasm/freeLists.ts";

const runs = process.env.SWITCHYARD_DEEP ? 5000 : 300;

/** A space that grows in pieces of 64 KiB up to a limit. */
function space(limit = Infinity): Allocator & { end: () => number } {
  let end = 128;
  const grow = (bytes: number): number | undefined => {
    const next = end + Math.ceil(bytes / 65536) * 65536;
    if (next > limit) return undefined;
    end = next;
    return end;
  };
  return { ...createAllocator(end, grow), end: () => end };
}

/** Blocks tile the space, free neighbours that are busy alike have merged, and the count of free bytes is right. */
function check(allocator: Allocator, used: Iterable<Block>): void {
  const blocks = allocator.blocks();
  let at = 128;
  for (const [i, block] of blocks.entries()) {
    expect(block.address).toBe(at);
    expect(block.bytes % 64).toBe(0);
    at += block.bytes;
    if (!block.used && i > 0 && !blocks[i - 1].used) expect(blocks[i - 1].busyUntil).not.toBe(block.busyUntil);
  }
  expect(new Set(blocks.filter((b) => b.used))).toEqual(new Set(used));
  const free = blocks.filter((b) => !b.used).reduce((sum, b) => sum + b.bytes, 0);
  expect(allocator.freeBytes()).toBe(free);
}

type Step =
  | { kind: "allocate"; bytes: number; writer: Writer }
  | { kind: "free"; which: number }
  | { kind: "post" }
  | { kind: "finish" };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant("allocate" as const),
      bytes: fc.oneof(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 1, max: 200_000 })),
      writer: fc.constantFrom<Writer>("program", "host"),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("free" as const), which: fc.nat() }) },
  { weight: 2, arbitrary: fc.constant<Step>({ kind: "post" }) },
  { weight: 2, arbitrary: fc.constant<Step>({ kind: "finish" }) },
);

test("blocks never overlap, merge when freed, and the host never gets what a program may still use", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), fc.constantFrom(Infinity, 400_000), (steps, limit) => {
      const allocator = space(limit);
      const used = new Set<Block>();
      /** Bytes that were freed while a program was in flight: address, end, last program. */
      let quarantine: { from: number; until: number; program: number }[] = [];
      let posted = 0;
      let finished = 0;
      for (const s of steps) {
        if (s.kind === "post") posted++;
        else if (s.kind === "finish") {
          if (finished < posted) allocator.settle(++finished);
          quarantine = quarantine.filter((q) => q.program > finished);
        } else if (s.kind === "free") {
          const block = [...used][s.which % Math.max(1, used.size)];
          if (!block) continue;
          used.delete(block);
          if (posted > finished)
            quarantine.push({ from: block.address, until: block.address + block.bytes, program: posted });
          allocator.free(block, posted);
        } else {
          const block = allocator.allocate(s.bytes, s.writer);
          if (!block) continue;
          expect(block.bytes).toBeGreaterThanOrEqual(s.bytes);
          used.add(block);
          const until = block.address + block.bytes;
          if (s.writer === "host")
            for (const q of quarantine) expect(block.address >= q.until || until <= q.from).toBe(true);
        }
        check(allocator, used);
      }
    }),
    { numRuns: runs },
  );
});

test("a repeated step takes nothing new from the end of the memory", () => {
  const allocator = space();
  const sizes = [4096, 70_000, 128, 1_000_000, 4096, 33_333];
  const step = (): void => {
    const blocks = sizes.map((bytes) => allocator.allocate(bytes, "program")!);
    for (const i of [3, 0, 5, 1, 4, 2]) allocator.free(blocks[i], 0);
  };
  step();
  const end = allocator.end();
  for (let i = 0; i < 1000; i++) step();
  expect(allocator.end()).toBe(end);
});

test("steps that overlap in flight settle into a memory that stays the same", () => {
  const allocator = space();
  let held: Block[] = [];
  const ends: number[] = [];
  for (let program = 1; program <= 200; program++) {
    const input = allocator.allocate(10_000, "host")!;
    const next = [50_000, 80_000, 1000].map((bytes) => allocator.allocate(bytes, "program")!);
    for (const block of [...held, input]) allocator.free(block, program);
    held = next;
    allocator.settle(program - 1);
    ends.push(allocator.end());
  }
  expect(ends.at(-1)).toBe(ends[5]);
});

test("a program may span what is idle and what is busy when there is no more space", () => {
  const allocator = space(128 + 65536);
  const [a, b] = [32768, 32768].map((bytes) => allocator.allocate(bytes, "program")!);
  allocator.free(a, 0);
  allocator.free(b, 1);
  expect(allocator.allocate(65536, "host")).toBeUndefined();
  const whole = allocator.allocate(65536, "program")!;
  expect(whole.address).toBe(128);
  allocator.free(whole, 1);
  expect(allocator.allocate(64, "host")).toBeUndefined();
  allocator.settle(1);
  expect(allocator.allocate(65536, "host")).toBe(whole);
});

test("freeing a block twice is caught", () => {
  const allocator = space();
  const block = allocator.allocate(64, "host")!;
  allocator.free(block, 0);
  expect(() => allocator.free(block, 0)).toThrow("freed twice");
});

test("size classes lose at most a thirty-second", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 2 ** 32 - 64 }), (bytes) => {
      const size = roundToClass(bytes);
      expect(size).toBeGreaterThanOrEqual(bytes);
      expect(size).toBeLessThan(bytes * (1 + 1 / 32) + 64);
      expect(roundToClass(size)).toBe(size);
    }),
  );
});

const interval = fc
  .record({ from: fc.nat({ max: 20 }), span: fc.nat({ max: 6 }), bytes: fc.nat({ max: 1000 }) })
  .map(({ from, span, bytes }) => ({ from, until: from + span, bytes }));

test("intervals that live together do not overlap in the arena", () => {
  fc.assert(
    fc.property(fc.array(interval, { maxLength: 40 }), (intervals) => {
      const { offsets, bytes } = planArena(intervals);
      intervals.forEach((a, i) => {
        expect(offsets[i] + a.bytes).toBeLessThanOrEqual(bytes);
        intervals.slice(0, i).forEach((b, j) => {
          if (a.from > b.until || b.from > a.until) return;
          expect(offsets[i] >= offsets[j] + b.bytes || offsets[j] >= offsets[i] + a.bytes).toBe(true);
        });
      });
    }),
    { numRuns: runs },
  );
});

test("intervals one after another share their bytes", () => {
  const intervals = Array.from({ length: 100 }, (_, i) => ({ from: i, until: i + 1, bytes: 6400 }));
  expect(planArena(intervals).bytes).toBe(12_800);
});
