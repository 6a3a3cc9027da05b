import { delimiter, join } from "node:path";
import { beforeAll, expect, test, vi } from "vitest";
import { ended, reports, reportsOfBuild } from "./children.ts";
import type { Report } from "./program.ts";

// Seconds of work each, in processes that share a busy machine with other tests.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const isWideBuilt = Boolean((process.config.variables as Record<string, unknown>).v8_enable_wasm_simd256_revec);

let fused: Report[];
let plain: Report;
beforeAll(async () => {
  const options = [{ threads: 1 }, { threads: 2 }, { threads: 4 }, { threads: 2, relaxedSimd: false }];
  [plain, ...fused] = (await reports(process.execPath, [], { options, reference: true })).toReversed();
  expect(plain.details).toEqual({ threads: 2, relaxedSimd: false, revectorized: false });
});

test("a training step and every routine agree with the reference, with relaxed SIMD and without", () => {
  expect([fused[0].off, plain.off]).toEqual([{}, {}]);
});

test("they have the same bits on 1, 2 and 4 threads", () => {
  const [four, two, one] = fused;
  expect([one, two, four].map(({ details }) => details.threads)).toEqual([1, 2, 4]);
  expect(two.hashes).toEqual(one.hashes);
  expect(four.hashes).toEqual(one.hashes);
});

test.skipIf(!isWideBuilt)("revectorization changes no bit", async () => {
  const options = [{ threads: 2, revectorize: true }];
  // Only the optimizing compiler makes 256-bit operations, and a kernel that runs a few times would never reach it.
  const [wide] = await reports(process.execPath, ["--no-liftoff"], { options });
  expect(wide.details).toMatchObject({ threads: 2, revectorized: true });
  expect(wide.hashes).toEqual(fused[0].hashes);
});

/** The first Node 20 on the path. */
async function findNode20(): Promise<string | undefined> {
  for (const folder of (process.env.PATH ?? "").split(delimiter)) {
    const node = join(folder, "node");
    if ((await ended(node, ["--version"])).output.startsWith("v20.")) return node;
  }
  return undefined;
}

const node20 = await findNode20();

test.skipIf(!node20)("the built packages compute the same bits on Node 20", async () => {
  const [old] = await reportsOfBuild(node20!, { options: [{ threads: 2 }] });
  expect(old.node).toMatch(/^v20\./);
  expect(old.details).toEqual(plain.details);
  expect(old.hashes).toEqual(plain.hashes);
});
