import { atMost } from "../runner/report.ts";
import { runScript } from "../runner/script.ts";
import type { Suite } from "../runner/suite.ts";
import type { LedgerTimes } from "../programs/ledger.ts";

export const ledger: Suite = {
  what: "the gradient by class of path, over the plain gradient",
  async run() {
    const found = await runScript<LedgerTimes>("programs/ledger.ts");
    const rows = found.rows.map(({ what, terms, classes, plainMs, partsMs, ledgerMs }) => [
      what,
      terms,
      classes,
      plainMs,
      partsMs,
      partsMs / plainMs,
      ledgerMs,
      ledgerMs / plainMs,
    ]);
    const [routers, all] = found.rows;
    return {
      tables: [
        {
          title: "The demo language model at batch 8",
          columns: [
            "parameters",
            "carried",
            "classes",
            "valueAndGrad, ms",
            "gradParts, ms",
            "times",
            "ledger, ms",
            "times",
          ],
          rows,
        },
      ],
      bars: [
        atMost(`ledger of all routers, ${routers.terms} carried`, routers.ledgerMs / routers.plainMs, 2.5),
        atMost(`ledger of all parameters, ${all.terms} carried`, all.ledgerMs / all.plainMs, all.terms + 0.3),
      ],
      chart: {
        title: "The ledger's price",
        unit: "ms, less is better",
        bars: found.rows.flatMap(({ what, plainMs, partsMs, ledgerMs }) => [
          { group: what, label: "valueAndGrad of all", value: plainMs },
          { group: what, label: "gradParts", value: partsMs },
          { group: what, label: "ledger", value: ledgerMs },
        ]),
      },
      notes: [
        "The plain gradient is of all parameters in both rows. The ledger is that without `explain`: realized, read, and its numbers taken.",
        "Classes are told apart by term here (cross-entropy, importance, load), and by the scope at the parameter, which costs nothing.",
      ],
      data: found,
    };
  },
};
