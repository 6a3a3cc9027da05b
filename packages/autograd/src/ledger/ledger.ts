import { realize, zerosLike, type Tensor } from "@switchyard/tensor";
import { checkOptions, flag, fromNode, type AnyNode, type Rule } from "@switchyard/tensor/graph";
import { traceLoss, type LossOf, type TracedLoss } from "../grad.ts";
import { distinct, treeLeaves } from "../tree.ts";
import { once, type Account, type AccountPart } from "./account.ts";
import { bookOf, type Ledger } from "./book.ts";
import { causesOfZeros } from "./causes.ts";
import { strongestPath, traceFlow, type Flow } from "./flow.ts";
import { gradientGraph } from "./graph.ts";
import { observedMarks } from "./marks.ts";
import { measurable, measure, type Measures } from "./measure.ts";
import { noPathTo } from "./noPath.ts";
import { splitOptions } from "./options.ts";
import { keyOf } from "./pathClass.ts";
import { chosenPaths } from "./paths.ts";

export interface LedgerOptions {
  /** The marks to tell apart, as in `gradParts`. What arrives at any mark is in the ledger without asking. */
  readonly marks?: readonly string[];
  /** Paths of the parameters to take the gradient by, or beginnings of them, such as `layers.1`; all by default. Others are constants. */
  readonly parameters?: readonly string[];
  /** Whether to measure each step and to explain exact zeros. By default where there are at most 1,024 cotangents to measure. */
  readonly explain?: boolean;
}

/** Up to so many cotangents are measured and explained without being asked. */
const fewCotangents = 1024;

const names: Rule = {
  must: "an array of names",
  holds: (value) => Array.isArray(value) && value.every((name) => typeof name === "string"),
};

/**
 * The gradient of a loss, and what it is made of: `gradParts`, realized and described. For any parameter, any of its elements and
 * any mark: the parts by class of path, the steps of each, why what is zero is zero, and where NaN or infinity was born.
 *
 * @returns a function of the arguments of `f` and, after them, options.
 * @throws {GradientError} as `grad`, except that a parameter that does not reach the loss is described, not refused; for an
 * unknown path, and for more than 64 classes of term and marks.
 */
export const ledger =
  <P, R extends readonly unknown[], O extends LossOf>(f: (params: P, ...rest: R) => O) =>
  async (params: P, ...args: [...rest: R, options?: LedgerOptions]): Promise<Ledger<O>> => {
    const { rest, options } = splitOptions<R, LedgerOptions>(args, ["marks", "parameters", "explain"]);
    checkOptions("ledger", options, { marks: names, parameters: names, explain: flag });
    const traced = traceLoss("ledger", f, params, rest);
    const places = placesOf(traced, treeLeaves(params), options);
    const { flow, lossNode } = places;
    const explain = options.explain ?? measurable(flow) <= fewCotangents;
    const contributions = places.all.flatMap(({ node }) => [...(flow.arrivals.get(node)?.values() ?? [])]);
    const roots = [lossNode, ...contributions.map((ct) => ct.node)];
    const [measures] = await Promise.all([explain ? measure(flow) : undefined, realize([traced.loss, contributions])]);
    const accounts = await Promise.all(places.all.map((place) => accountOf(place, places, measures)));
    return bookOf({
      value: traced.value,
      loss: await traced.loss.item(),
      accounts: explain ? await withCauses(accounts, places) : accounts,
      handles: places.handles,
      roots,
      contributions,
      graph: once(() => gradientGraph(flow, parameterPaths(places), measures)),
    });
  };

/** A parameter or a mark. */
interface Place {
  readonly where: string;
  readonly kind: Account["kind"];
  readonly role?: string;
  readonly node: AnyNode;
}

/** What a ledger is about. */
interface Places {
  readonly all: readonly Place[];
  /** The tensors that were given as parameters, by path. */
  readonly handles: ReadonlyMap<string, Tensor>;
  readonly lossNode: AnyNode;
  readonly variables: readonly AnyNode[];
  readonly marks: readonly string[];
  readonly flow: Flow;
}

function placesOf<P, O>(
  { variables: { nodes, paths }, loss }: TracedLoss<P, O>,
  leaves: readonly Tensor[],
  { marks = [], parameters }: LedgerOptions,
): Places {
  const chosen = chosenPaths(distinct("ledger", paths), parameters);
  const handles = new Map(chosen.map((i) => [paths[i], leaves[i]]));
  const lossNode = loss.node;
  const targets = chosen.map((i) => nodes[i]);
  const flow = traceFlow(lossNode, nodes, targets, marks);
  const all: Place[] = [
    ...chosen.map((i): Place => ({ where: paths[i], kind: "parameter", node: nodes[i] })),
    ...observedMarks(flow).map((mark): Place => ({ ...mark, kind: "mark" })),
  ];
  return { all, handles, lossNode, variables: nodes, marks, flow };
}

const parameterPaths = ({ all }: Places): ReadonlyMap<AnyNode, string> =>
  new Map(all.filter(({ kind }) => kind === "parameter").map(({ node, where }) => [node, where]));

async function accountOf(
  { node, ...place }: Place,
  { flow, lossNode }: Places,
  measures: Measures | undefined,
): Promise<Account> {
  const arrived = [...(flow.arrivals.get(node) ?? [])];
  const parts = await Promise.all(
    arrived.map(async ([cls, ct]): Promise<AccountPart> => ({
      class: cls,
      contribution: () => ct,
      data: await ct.data(),
      steps: once(() => strongestPath(flow, node, cls, measures)),
    })),
  );
  const { shape, dtype } = node;
  const zeros = once(() => zerosLike(fromNode(node)));
  return { ...place, shape, dtype, parts, zeros, ...(parts.length === 0 && { noPath: noPathTo(node, lossNode) }) };
}

/**
 * The accounts with the causes of exact zeros, looked for in a second sweep where there are any: in a large graph only for the sake of
 * parameters, as activations at marks have some nearly always.
 */
async function withCauses(accounts: readonly Account[], { all, ...places }: Places): Promise<readonly Account[]> {
  const isZero = (part: AccountPart): boolean => Array.prototype.includes.call(part.data, 0);
  const zeros = all.filter((_, i) => accounts[i].parts.some(isZero));
  const isSmall = measurable(places.flow) <= fewCotangents;
  if (!zeros.some(({ kind }) => kind === "parameter" || isSmall)) return accounts;
  const watched = new Set(zeros.map(({ node }) => node));
  const targets = all.filter(({ kind }) => kind === "parameter").map(({ node }) => node);
  const causes = await causesOfZeros({ ...places, targets, watched });
  return accounts.map((account, i) => {
    const found = causes.get(all[i].node);
    const parts = account.parts.map((part) => ({ ...part, causes: found?.get(keyOf(part.class)) ?? [] }));
    return { ...account, parts };
  });
}
