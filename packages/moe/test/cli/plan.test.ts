import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "@switchyard/moe/node";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "switchyard-plan-"));
  await writeFile(
    join(dir, "small.json"),
    JSON.stringify({ vocab: 2, dim: 4, layers: 1, heads: 1, hidden: 2, context: 4, moe: { experts: 2, k: 1 } }),
  );
  await writeFile(join(dir, "routing.json"), JSON.stringify({ expertCount: 2, experts: [[0], [0], [0], [1]] }));
  await writeFile(join(dir, "broken.json"), "{");
});
afterAll(() => rm(dir, { recursive: true }));

/** What a command prints, and its exit code. */
async function outputOf(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  let err = "";
  const log = vi.spyOn(console, "log").mockImplementation(() => {});
  const errors = vi.spyOn(process.stderr, "write").mockImplementation((chunk) => ((err += String(chunk)), true));
  const code = await run(["plan", ...args]);
  const out = log.mock.calls.map(([line]) => String(line)).join("\n");
  log.mockRestore();
  errors.mockRestore();
  return { code, out, err };
}

describe("switchyard plan", () => {
  test("mixtral-8x7b: 46.7 B parameters, 12.9 B active", async () => {
    const { code, out } = await outputOf("mixtral-8x7b");
    expect(code).toBe(0);
    expect(out).toContain("46.7 B held, 12.9 B active");
    expect(out).toContain("bf16 93.4 GB");
  });

  test("a config and a recorded routing of one's own, over devices, as JSON", async () => {
    const files = [join(dir, "small.json"), "--routing", join(dir, "routing.json")];
    const { out } = await outputOf(...files, "--devices", "2", "--json");
    expect(JSON.parse(out).expertParallel).toMatchObject({ tokens: 4, load: [3, 1], slowdown: 1.5 });
    expect((await outputOf(...files, "--devices", "2")).out).toContain(
      "waits for the slowest device, which has 1.50 times the mean",
    );
  });

  test.each<[string, string[], string]>([
    [
      "no preset",
      ["mixtral"],
      "plan: cannot read mixtral: no preset and no file; presets are mixtral-8x7b, switch-base-8",
    ],
    [
      "tokens without devices to play them on",
      ["demo", "--tokens", "5"],
      "plan: tokens are played on devices; say on how many with devices",
    ],
    ["no file", ["demo", "--devices", "2", "--routing", "none.json"], "cannot read none.json: there is no such file"],
    ["no JSON", ["broken.json"], "broken.json is not JSON"],
    [
      "devices that do not divide",
      ["demo", "--devices", "3"],
      "plan: 3 devices do not divide 8 experts; choose a divisor",
    ],
  ])("%s: a line that says why, and exit code 1", async (_, [model, ...rest], message) => {
    const { code, err } = await outputOf(model.endsWith(".json") ? join(dir, model) : model, ...rest);
    expect(code).toBe(1);
    expect(err).toContain(message);
    expect(err.trim()).not.toContain("\n");
  });
});
