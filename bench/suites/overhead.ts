import { runScript } from "../runner/script.ts";
import { atMost } from "../runner/report.ts";
import type { Suite } from "../runner/suite.ts";
import type { Overheads } from "../programs/overhead.ts";

export const overhead: Suite = {
  what: "what a step costs beside its arithmetic",
  async run() {
    const found = await runScript<Overheads>("programs/overhead.ts");
    const { steps } = found;
    const large = steps.at(-1)!;
    return {
      tables: [
        {
          title: "Steps of tiny operations (8 numbers each), steady state",
          columns: ["operations", "ms: graph", "ms: plan, key, dispatch, walk", "ms: all", "µs per operation"],
          rows: steps.map(({ nodes, graphMs, runMs, allMs }) => [nodes, graphMs, runMs, allMs, (1000 * allMs) / nodes]),
        },
        {
          title: "One operation at a time",
          columns: ["what", "µs"],
          rows: [["write one operation, realize it, wait", found.singleUs]],
        },
      ],
      bars: [
        atMost("graph build, plan look-up and dispatch per operation", (1000 * large.allMs) / large.nodes, 5, " µs"),
        atMost(`a step of ${large.nodes} operations`, large.allMs, 10, " ms"),
      ],
      chart: {
        title: "Overhead of a step",
        unit: "µs per operation",
        bars: steps.flatMap(({ nodes, graphMs, runMs }) => [
          { group: `${nodes} operations`, label: "graph", value: (1000 * graphMs) / nodes },
          { group: `${nodes} operations`, label: "plan and dispatch", value: (1000 * runMs) / nodes },
        ]),
      },
      notes: [
        "Each step is a product of alternating reductions and maps with fresh numbers, so that little fuses and nothing is new to the plan cache.",
        "The time includes the kernels themselves, which do next to nothing.",
      ],
      data: found,
    };
  },
};
