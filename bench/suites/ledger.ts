import { atMost } from "../runner/report.ts";
import { runScript } from "../runner/script.ts";
import type { Suite } from "../runner/suite.ts";
import type { LedgerTimes } from "../programs/ledger.ts";

export const ledger: Suite = {
  what: "the gradient by class of path, over the plain gradient",
  async run() {
    const found = await runScript<LedgerTimes>("programs/ledger.ts");
    const rows = found.rows.map(({ what, classes, plainMs, partsMs }) => [
      what,
      classes,
      plainMs,
      partsMs,
      partsMs / plainMs,
    ]);
    const [routers, all] = found.rows;
    return {
      tables: [
        {
          title: "The demo language model at batch 8",
          columns: ["parameters", "classes", "valueAndGrad, ms", "gradParts, ms", "times"],
          rows,
        },
      ],
      bars: [
        atMost(`all routers, ${routers.classes} classes`, routers.partsMs / routers.plainMs, 2.5),
        atMost(`all parameters, ${all.classes} classes`, all.partsMs / all.plainMs, all.terms + 0.3),
      ],
      chart: {
        title: "The ledger's price",
        unit: "ms, less is better",
        bars: found.rows.flatMap(({ what, plainMs, partsMs }) => [
          { group: what, label: "valueAndGrad of all", value: plainMs },
          { group: what, label: "gradParts", value: partsMs },
        ]),
      },
      notes: [
        "gradParts stands in for the ledger, which is its realized form. The plain gradient is of all parameters in both rows.",
        "Classes are told apart by term here (cross-entropy, importance, load), and by the scope at the parameter, which costs nothing.",
      ],
      data: found,
    };
  },
};
