import { ShapeError } from "../errors.ts";
import { makeNode, opName, type AnyNode } from "../node.ts";
import { describe } from "../shape.ts";
import type { Owner } from "./storage.ts";

/** Nodes that have run, and sites that have been warned of. */
const ran = new WeakSet<AnyNode>();
const warned = new Set<string>();

const site = ({ scope, line }: { scope: string; line?: string }): string =>
  `${scope === "" ? "" : ` in ${scope}`}${line === undefined ? "" : ` at ${line}`}`;

function warnOnce(message: string): void {
  if (warned.has(message)) return;
  warned.add(message);
  console.warn(`switchyard: ${message}`);
}

/** What costs nothing to run again: leaves, and what the scheduler folds into its readers. */
const free = new Set([
  "buffer",
  "full",
  "iota",
  "reshape",
  "permute",
  "expand",
  "pad",
  "slice",
  "detach",
  "after",
  "custom",
  "call",
  "tag",
  "transfer",
]);

let onPurpose = false;

/** Lets what `fn` asks for run again without a warning: tools that look into a graph compute it once more. */
export function repeating<T>(fn: () => T): T {
  const before = onPurpose;
  onPurpose = true;
  try {
    return fn();
  } finally {
    onPurpose = before;
  }
}

/** Warns, once per place, of work that an earlier realize or read has already done. */
export function warnOfRepeats(order: readonly AnyNode[]): void {
  if (onPurpose) return;
  for (const node of order) {
    if (free.has(node.op) || node.provenance.rule) continue;
    if (!ran.has(node)) ran.add(node);
    else {
      const where = site(node.provenance);
      warnOnce(`${opName(node)}${where} runs again: realize it together with what reads it, then read`);
      return;
    }
  }
}

/** A question to the device, and the error if its answer is true. */
export interface Check {
  readonly node: AnyNode;
  readonly error: () => Error;
}

/** For each gather and scatter: is any index out of range? */
export function indexChecks(order: readonly AnyNode[]): Check[] {
  return order.flatMap((node): Check[] => {
    if (node.op !== "gather" && node.op !== "scatter") return [];
    const index = node.inputs[1];
    const extent = (node.op === "gather" ? node.inputs[0].shape : node.attrs.shape)[node.attrs.axis];
    const bound = (value: number): AnyNode =>
      makeNode("full", [], { shape: index.shape, dtype: "i32", value }, node.device);
    const low = makeNode("map", [index, bound(0)], { fn: "lt" });
    const high = makeNode("map", [index, bound(extent)], { fn: "ge" });
    const outside = makeNode("map", [low, high], { fn: "or" });
    const axes = [...index.shape.keys()];
    return [
      {
        node: axes.length === 0 ? outside : makeNode("reduce", [outside], { op: "max", axes }),
        error: () =>
          new ShapeError(
            `${node.op}${site(node.provenance)}: an index is out of range 0..${extent - 1} (index ${describe(index)}); without debug it would read 0 or scatter nowhere`,
          ),
      },
    ];
  });
}

/** Warns, once per place, of a buffer that was collected though nobody disposed of it. */
export function warnOfLeak({ op, scope, line }: Owner, bytes: number): void {
  warnOnce(
    `a tensor of ${bytes} bytes made by ${op}${site({ scope, line })} was collected, not disposed: donate it, dispose it or use \`using\``,
  );
}
