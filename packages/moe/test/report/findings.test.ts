import { describe, expect, test } from "vitest";
import type { CloseLook } from "@switchyard/moe";
import { findingsOf } from "../../src/report/findings.ts";
import { bestOf, course, throughput } from "../../src/report/series.ts";
import type { StepRecord } from "../../src/training/runLog.ts";

/** A run of so many steps, each made by a function of its number. */
const runOf = (steps: number, record: (step: number) => Partial<StepRecord>) => ({
  name: "run",
  samples: [],
  metrics: Array.from({ length: steps }, (_, i): StepRecord => ({
    step: i + 1,
    time: 1000 + 10 * i,
    scalars: { loss: 1 / (i + 1) },
    ...record(i + 1),
  })),
});
const texts = (run: ReturnType<typeof runOf>) => findingsOf(run).map(({ text }) => text);

describe("findings", () => {
  test("a run that went well has none", () => {
    expect(texts(runOf(20, () => ({})))).toEqual([]);
  });

  test("a loss that did not fall", () => {
    expect(texts(runOf(5, (step) => ({ scalars: { loss: step } })))).toEqual([
      "The loss is no lower than it was at the start.",
    ]);
  });

  test("what the doctor found wrong with the routing, and what to do", () => {
    const diagnosis = [
      { ailment: "collapse", layer: 2, severity: "error", says: "all go to one", remedy: "balance" } as const,
      { ailment: "layers that cancel", severity: "note", says: "they do", remedy: "look" } as const,
    ];
    const look = { diagnosis } as unknown as CloseLook;
    expect(findingsOf({ ...runOf(20, () => ({})), look })).toEqual([
      { text: "collapse in layer 2: all go to one. Balance.", warns: true },
      { text: "layers that cancel: they do. Look.", warns: false },
    ]);
  });

  test("a held-out loss that was better before", () => {
    const [text] = texts(runOf(20, (step) => ({ evaluation: { loss: (step - 10) ** 2 + 1 } })));
    expect(text).toMatch(/was best after step 10 \(1\.000\) and is 101\.000 at the end/);
  });

  test("a gradient out of proportion", () => {
    const [text] = texts(runOf(20, (step) => ({ gradientNorm: step === 7 ? 60 : 2 })));
    expect(text).toBe("The gradient of step 7 was 30 times as long as usual.");
  });

  test("a run of more steps than a call has room for arguments is told of like any other", () => {
    expect(texts(runOf(200_000, () => ({ gradientNorm: 1 })))).toEqual([]);
  });

  test("experts that nobody uses at the end, and a router that does not choose", () => {
    const use = (step: number) => ({
      counts: step > 15 ? [6, 0, 6, 0] : [3, 3, 3, 3],
      dropped: 0,
      entropy: Math.log(4),
    });
    const found = texts(runOf(20, (step) => ({ routing: { "routings.0": use(step) } })));
    expect(found).toEqual([
      "In layer 0, no token went to expert 1, 3 of 4 at the end.",
      "The router of layer 0 hardly tells experts apart: entropy 1.39 of at most 1.39.",
    ]);
  });
});

describe("a course", () => {
  test("of many points is the means over equal parts", () => {
    const { metrics } = runOf(900, (step) => ({ scalars: { loss: step } }));
    const points = course(metrics, "", (record) => record.scalars.loss);
    expect([points.length, points[0], points.at(-1)]).toEqual([
      300,
      { step: 3, value: 2, series: "" },
      { step: 900, value: 899, series: "" },
    ]);
  });

  test("leaves out what is not known", () => {
    const { metrics } = runOf(6, (step) => (step % 2 === 0 ? { evaluation: { loss: 10 - step } } : {}));
    expect(bestOf(metrics)).toEqual({ step: 6, value: 4, series: "" });
    expect(course(metrics, "", ({ evaluation }) => evaluation?.loss).length).toBe(3);
  });

  test("of the throughput does not count a pause between two parts of a run", () => {
    const run = runOf(10, (step) => ({ time: 1000 + 10 * step + (step > 5 ? 1e6 : 0) }));
    const points = throughput(run);
    expect(points.length).toBe(8);
    for (const { value } of points) expect(value).toBeCloseTo(100);
  });
});
