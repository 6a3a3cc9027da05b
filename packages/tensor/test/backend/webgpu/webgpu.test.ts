import { existsSync, mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { findAdapter, runWithAdapter } from "./adapter.ts";

const place = findAdapter();

interface Report {
  readonly numPassedTests: number;
  readonly testResults: readonly {
    readonly assertionResults: readonly {
      readonly status: string;
      readonly fullName: string;
      readonly failureMessages: readonly string[];
    }[];
  }[];
}

// In a process of its own, which a watchdog ends: a driver may crash or hang.
test.skipIf(typeof place === "string")(
  `the WebGPU backend passes its tests on ${typeof place === "string" ? `nothing (${place})` : place.name}`,
  { timeout: 270_000 },
  async () => {
    if (typeof place === "string") return;
    const file = join(mkdtempSync(join(tmpdir(), "switchyard-webgpu-")), "report.json");
    const reporting = ["--reporter=json", `--outputFile.json=${file}`];
    const args = ["node_modules/vitest/vitest.mjs", "run", "--config", "vitest.gpu.config.ts", ...reporting];
    const inherited = Object.entries(place.env).filter(([name]) => !name.startsWith("VITEST") && name !== "NODE_ENV");
    const env = { ...Object.fromEntries(inherited), SWITCHYARD_GPU_SUBSET: "1" };
    const { code, output } = await runWithAdapter({ ...place, env }, args, { seconds: 240 });
    if (!existsSync(file)) throw new Error(`no report (exit code ${code}): ${output.slice(-4000)}`);
    const report = JSON.parse(readFileSync(file, "utf8")) as Report;
    const failed = report.testResults
      .flatMap((file) => file.assertionResults)
      .filter(({ status }) => status === "failed")
      .map(({ fullName, failureMessages }) => `${fullName}: ${failureMessages.join("\n").slice(0, 1000)}`);
    expect(failed).toEqual([]);
    expect(report.numPassedTests).toBeGreaterThan(80);
    expect(code).toBe(0);
  },
);
