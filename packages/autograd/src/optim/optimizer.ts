import { ConfigError, ShapeError, Tensor } from "@switchyard/tensor";
import {
  aFunction,
  checkOptions,
  describe,
  flag,
  inWords,
  isFloat,
  nonNegative,
  sameShape,
  type Rule as OptionRule,
  type Rules,
} from "@switchyard/tensor/graph";
import { leavesAt, treeFlatten, treePaths, treeUnflatten, type TreeStructure } from "../tree.ts";
import type { Schedule } from "./schedules.ts";

/** Turns gradients into new parameters. All state is in the state, a tree that can be realized, donated and saved. */
export interface Optimizer<S> {
  /** The state before the first update. */
  init(params: unknown): S;
  /**
   * One step. Lazy: realize the result.
   *
   * @param grads a tree like the parameters; its structure, shapes and dtypes are checked when it runs.
   * @returns the new parameters and the new state. Leaves that are not floats, and frozen ones, are handed through.
   * @throws {ShapeError} if the trees do not fit.
   */
  update<P>(params: P, grads: unknown, state: S): [params: P, state: S];
  /** The general learning rate of the update that comes after a state, for those who note it. */
  learningRate?(state: S): number;
}

/** What `each` may set for one parameter. */
export interface ParameterOptions {
  readonly learningRate?: number | Schedule;
  readonly weightDecay?: number;
  /** Not updated, and no state kept for it. */
  readonly frozen?: boolean;
}

export interface OptimizerOptions {
  /** A number, or a function of the number of updates made so far. */
  readonly learningRate: number | Schedule;
  readonly weightDecay?: number;
  /** Options of one parameter, by its path (`layers.0.moe.router.gate`) or itself; they stand in for the general ones. */
  readonly each?: (path: string, parameter: Tensor) => ParameterOptions | undefined;
}

const learningRate: OptionRule = {
  must: "a number of at least 0, or a function of the step",
  holds: (value) => aFunction.holds(value) || nonNegative.holds(value),
};
export const optimizerRules: Rules<OptimizerOptions> = { learningRate, weightDecay: nonNegative, each: aFunction };
const parameterRules: Rules<ParameterOptions> = { learningRate, weightDecay: nonNegative, frozen: flag };

/** Per-parameter state: trees like the parameters, null where there is nothing to keep. */
export type Slots<K extends string> = { readonly [S in K]: unknown };

/** A step count, which is a plain number, and the per-parameter state. */
export type StateOf<K extends string> = { readonly step: number } & Slots<K>;

/** What a rule works with for one parameter. Numbers travel as data: no step recompiles anything. */
export interface Update<K extends string> {
  readonly parameter: Tensor;
  readonly gradient: Tensor;
  readonly slots: { readonly [S in K]: Tensor | null };
  /** Which update this is, from 1. */
  readonly step: number;
  readonly learningRate: number;
  readonly weightDecay: number;
}

/** The mathematics of an optimizer, for one parameter. */
export interface Rule<K extends string> {
  readonly slots: readonly K[];
  init(parameter: Tensor): { readonly [S in K]: Tensor | null };
  update(update: Update<K>): { readonly parameter: Tensor; readonly slots: { readonly [S in K]: Tensor | null } };
}

/**
 * An optimizer from the rule for one parameter.
 *
 * @param name for messages.
 */
export function optimizer<K extends string>(
  name: string,
  rule: Rule<K>,
  options: OptimizerOptions,
): Optimizer<StateOf<K>> {
  const optionsFor = (path: string, parameter: Tensor): ParameterOptions => {
    const own = options.each?.(path, parameter) ?? {};
    checkOptions(`${name}: each, of ${path || "the root"}`, own, parameterRules);
    return own;
  };
  const rateAt = (rate: number | Schedule, step: number): number => {
    const value = typeof rate === "number" ? rate : rate(step);
    if (!Number.isFinite(value)) throw new ConfigError(`${name}: the learning rate at step ${step} is ${value}`);
    return value;
  };

  return {
    learningRate: ({ step }) => rateAt(options.learningRate, step),
    init(params) {
      const [leaves, structure] = treeFlatten(params);
      const paths = treePaths(params);
      const slots = leaves.map((x, i) => (isTrained(x, optionsFor(paths[i], x)) ? rule.init(x) : undefined));
      return { step: 0, ...columns(rule.slots, slots, structure) };
    },

    update(params, grads, state) {
      const [leaves, structure] = treeFlatten(params);
      const paths = treePaths(params);
      checkState(name, rule.slots, state);
      const gradients = leavesAt(name, structure, grads);
      const kept = rule.slots.map((slot) => leavesAt(name, structure, state[slot]));
      const next = leaves.map((parameter, i) => {
        const own = optionsFor(paths[i], parameter);
        if (!isTrained(parameter, own)) return { parameter, slots: undefined };
        // A parameter that was frozen so far starts afresh.
        const slots = kept.every((column) => column[i] === null)
          ? rule.init(parameter)
          : Object.fromEntries(rule.slots.map((slot, s) => [slot, kept[s][i]]));
        return rule.update({
          parameter,
          gradient: gradientOf(name, gradients[i], parameter, paths[i]),
          slots: slots as { [S in K]: Tensor | null },
          step: state.step + 1,
          learningRate: rateAt(own.learningRate ?? options.learningRate, state.step),
          weightDecay: own.weightDecay ?? options.weightDecay ?? 0,
        });
      });
      const parameters = next.map((n) => n.parameter);
      const slots = next.map((n) => n.slots);
      return [treeUnflatten(structure, parameters), { step: state.step + 1, ...columns(rule.slots, slots, structure) }];
    },
  };
}

function checkState(name: string, slots: readonly string[], state: unknown): void {
  const keys = typeof state === "object" && state !== null ? Object.keys(state) : [];
  if (["step", ...slots].every((key) => keys.includes(key))) return;
  throw new ConfigError(`${name}: the state must come from init or the update before, got ${inWords(state)}`);
}

const isTrained = (x: Tensor, { frozen = false }: ParameterOptions): boolean => isFloat(x.dtype) && !frozen;

/** Per-leaf records of slots as one tree for each slot. */
function columns<K extends string>(
  names: readonly K[],
  records: readonly ({ readonly [S in K]: Tensor | null } | undefined)[],
  structure: TreeStructure,
): Slots<K> {
  const trees = names.map((name) => [
    name,
    treeUnflatten(
      structure,
      records.map((record) => record?.[name] ?? null),
    ),
  ]);
  return Object.fromEntries(trees) as Slots<K>;
}

function gradientOf(name: string, gradient: unknown, parameter: Tensor, path: string): Tensor {
  const fits =
    gradient instanceof Tensor && sameShape(gradient.shape, parameter.shape) && gradient.dtype === parameter.dtype;
  if (fits) return gradient;
  const got = gradient instanceof Tensor ? describe(gradient) : String(gradient);
  throw new ShapeError(`${name}: the gradient at ${path || "the root"} must be ${describe(parameter)}, got ${got}`);
}
