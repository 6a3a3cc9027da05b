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
  { timeout: 150_000 },
  async () => {
    if (typeof place === "string") return;
    const args = ["node_modules/vitest/vitest.mjs", "run", "--config", "vitest.gpu.config.ts", "--reporter=json"];
    const env = { ...place.env, SWITCHYARD_GPU_SUBSET: "1" };
    const { code, output } = await runWithAdapter({ ...place, env }, args, { seconds: 120 });
    const json = output.slice(output.indexOf('{"num'));
    expect(json, output.slice(-4000)).not.toBe("");
    const report = JSON.parse(json.slice(0, json.lastIndexOf("}") + 1)) as Report;
    const failed = report.testResults
      .flatMap((file) => file.assertionResults)
      .filter(({ status }) => status === "failed")
      .map(({ fullName, failureMessages }) => `${fullName}: ${failureMessages.join("\n").slice(0, 1000)}`);
    expect(failed).toEqual([]);
    expect(report.numPassedTests).toBeGreaterThan(60);
    expect(code).toBe(0);
  },
);
