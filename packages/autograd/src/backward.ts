import type { Tensor } from "@switchyard/tensor";
import {
  describe,
  fromNode,
  internal,
  isFloat,
  opName,
  sameShape,
  topologicalOrder,
  withProvenance,
  type AnyNode,
  type Provenance,
} from "@switchyard/tensor/graph";
import { besideEachOther } from "./besideEachOther.ts";
import { createRecomputation, isCheckpoint, outsideCheckpoint } from "./recompute.ts";
import { vjpRules } from "./rules/index.ts";
import type { VjpRule } from "./rules/rule.ts";

/** Where a backward pass starts: a node and its cotangent, under a class. */
export interface Seed<C> {
  readonly node: AnyNode;
  readonly ct: Tensor;
  readonly class: C;
}

/** How the class of a cotangent changes on its way back. Equal classes are one value, so that they add up. */
export interface Classes<C> {
  /** The class beyond a node, before its rule. */
  beyond(node: AnyNode, current: C): C;
  /** The class of what `consumer` gives to its input `x`. */
  arriving(x: AnyNode, consumer: AnyNode, current: C): C;
}

/** What looks on while cotangents flow, and may let more flow. */
export interface Observer<C> {
  /** All that a node is given has arrived. Newest nodes come first; what is added to `arrived` flows on. */
  arrived?(node: AnyNode, arrived: ByClass<C>): void;
  /** The rule of `consumer` gave a cotangent to its input x, under a class before and after `Classes.arriving`. */
  gave?(x: AnyNode, consumer: AnyNode, left: C, given: C, ct: Tensor): void;
  /** The rule of a node has run for all its cotangents. */
  passed?(step: RuleStep<C>, give: (x: AnyNode, cls: C, ct: Tensor) => void): void;
}

/** One node's rule, as it is applied. */
export interface RuleStep<C> {
  readonly node: AnyNode;
  /** The cotangents of its output, under their classes beyond it. */
  readonly cts: ByClass<C>;
  /** Its inputs that lead to a target, by position. */
  readonly wanted: readonly number[];
  /** What the rule makes of a cotangent of the output. */
  readonly rule: (ct: Tensor) => (Tensor | null)[];
  readonly inputs: readonly Tensor[];
  readonly output: Tensor;
}

/** Cotangents by class: their sum is the gradient. An absent one is zero, and never becomes an array. */
export type ByClass<C> = Map<C, Tensor>;

const nothing: readonly AnyNode[] = [];

/** The nodes among what `roots` need that depend on a target, newest first: each before everything it depends on. */
export function dependents(roots: readonly AnyNode[], targets: ReadonlySet<AnyNode>): AnyNode[] {
  let oldest = Infinity;
  for (const target of targets) oldest = Math.min(oldest, target.id);
  const reached = new Set<AnyNode>();
  // What is older than every target cannot depend on one.
  for (const node of topologicalOrder(roots, (n) => (n.id <= oldest ? nothing : n.inputs)))
    if (targets.has(node) || node.inputs.some((x) => reached.has(x))) reached.add(node);
  return [...reached].sort((a, b) => b.id - a.id);
}

/**
 * The reverse sweep: cotangents of `targets`, by class, from those of the seeds. Every class goes through the same rules, each
 * of which is linear. Iterative, so depth is not limited by the stack.
 */
export function backward<C>(
  seeds: readonly Seed<C>[],
  targets: readonly AnyNode[],
  classes: Classes<C>,
  observer: Observer<C> = {},
): readonly ByClass<C>[] {
  const stops = new Set(targets);
  const roots = seeds.map((seed) => seed.node);
  const order = dependents(roots, stops);
  const onPath = new Set(order);
  const cotangents = new Map<AnyNode, ByClass<C>>();
  const give = (node: AnyNode, cls: C, ct: Tensor): void => {
    let held = cotangents.get(node);
    if (!held) cotangents.set(node, (held = new Map()));
    addTo(held, cls, ct);
  };
  const recomputation = createRecomputation();
  for (const seed of seeds) give(seed.node, seed.class, seed.ct);
  for (const node of order) {
    const arrived = cotangents.get(node);
    if (!arrived) continue;
    observer.arrived?.(node, arrived);
    if (stops.has(node)) continue;
    cotangents.delete(node);
    if (isCheckpoint(node)) recomputation.enter(node, arrived.values());
    withProvenance(ruleProvenance(node), () => {
      const step = ruleStep(node, beyond(node, arrived, classes), onPath, (x) => recomputation.valueOf(x));
      for (const [cls, ct] of step.cts)
        step.rule(ct).forEach((cotangent, i) => {
          if (!cotangent) return;
          const x = outsideCheckpoint(node.inputs[i], stops);
          const given = classes.arriving(x, node, cls);
          observer.gave?.(x, node, cls, given, cotangent);
          give(x, given, cotangent);
        });
      observer.passed?.(step, give);
    });
  }
  return targets.map((target) => cotangents.get(target) ?? new Map<C, Tensor>());
}

function ruleStep<C>(
  node: AnyNode,
  cts: ByClass<C>,
  onPath: ReadonlySet<AnyNode>,
  valueOf: (node: AnyNode) => AnyNode,
): RuleStep<C> {
  const inputs = node.inputs.map((x) => fromNode(valueOf(x)));
  const output = fromNode(valueOf(node));
  const isWanted = node.inputs.map((x) => onPath.has(x) && isFloat(x.dtype));
  const apply = vjpRules[node.op] as VjpRule<never>;
  return {
    node,
    cts,
    wanted: [...isWanted.keys()].filter((i) => isWanted[i]),
    inputs,
    output,
    rule: (ct) =>
      apply(ct, node as never, inputs, output).map((cotangent, i) =>
        cotangent && isWanted[i] ? fitted(cotangent, node, node.inputs[i]) : null,
      ),
  };
}

function addTo<C>(held: ByClass<C>, cls: C, ct: Tensor): void {
  const before = held.get(cls);
  held.set(cls, before ? (besideEachOther(before, ct) ?? before.add(ct)) : ct);
}

/** The cotangents under their classes beyond a node; those that become one class add up. */
function beyond<C>(node: AnyNode, arrived: ByClass<C>, classes: Classes<C>): ByClass<C> {
  const out: ByClass<C> = new Map();
  for (const [cls, ct] of arrived) addTo(out, classes.beyond(node, cls), ct);
  return out;
}

const ruleProvenance = (node: AnyNode): Provenance => {
  const { scope, line } = node.provenance;
  return { scope, rule: { op: opName(node), id: node.id, scope, line } };
};

/** What a rule gave an input, which must fit it. */
function fitted(cotangent: Tensor | (() => Tensor), node: AnyNode, x: AnyNode): Tensor {
  const ct = typeof cotangent === "function" ? cotangent() : cotangent;
  if (!sameShape(ct.shape, x.shape) || ct.dtype !== x.dtype || ct.device !== x.device)
    throw internal(`the gradient rule of ${opName(node)} gave ${describe(ct)} for an input ${describe(x)}`);
  return ct;
}
