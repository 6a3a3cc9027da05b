import type { AnyNode } from "@switchyard/tensor/graph";
import type { Flow } from "./flow.ts";

/** A mark that cotangents arrived at. */
export interface ObservedMark {
  readonly node: AnyNode;
  /** Its name behind the scope it was set in, `layers.1/moe/router/logits`; a number follows where a loop set it more than once. */
  readonly where: string;
  readonly role?: string;
}

/** The marks on the way of a flow, in the order they were set. */
export function observedMarks({ arrivals }: Flow): ObservedMark[] {
  const counts = new Map<string, number>();
  const nodes = [...arrivals.keys()].filter((node) => node.op === "tag" && node.attrs.kind === "mark");
  return nodes
    .toSorted((a, b) => a.id - b.id)
    .map((node) => {
      const { scope } = node.provenance;
      const { name, role } = node.attrs as { name: string; role?: string };
      const address = scope === "" ? name : `${scope}/${name}`;
      const count = (counts.get(address) ?? 0) + 1;
      counts.set(address, count);
      const where = count === 1 ? address : `${address}#${count}`;
      return { node, where, ...(role !== undefined && { role }) };
    });
}
