import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readRun } from "../../src/training/runDirectory.ts";

test("a run that notes no precision was one in f32", async () => {
  const dir = await mkdtemp(join(tmpdir(), "switchyard-"));
  try {
    await writeFile(join(dir, "run.json"), JSON.stringify({ format: "switchyard run", version: 1 }));
    expect((await readRun(dir)).precision).toBe("f32");
  } finally {
    await rm(dir, { recursive: true });
  }
});
