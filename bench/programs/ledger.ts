/** Times the gradient by class, lazy (gradParts) and described (ledger), against the plain one, turn by turn, and prints them as JSON. */
import { init, random, realize } from "@switchyard/tensor";
import { gradParts, ledger, treeLeaves, treeMap, treePaths, valueAndGrad } from "@switchyard/autograd";
import { transformer } from "@switchyard/moe";
import { median } from "../runner/statistics.ts";

export interface LedgerTimes {
  readonly rows: readonly {
    readonly what: string;
    /** Of term and scope, as they are listed. */
    readonly classes: number;
    /** How many cotangents are carried side by side. */
    readonly terms: number;
    readonly plainMs: number;
    readonly partsMs: number;
    readonly ledgerMs: number;
  }[];
}

await init("wasm");
const [batch, context, vocab] = [8, 128, 90];
const model = transformer({ vocab, dim: 128, layers: 4, heads: 4, hidden: 256, context, moe: { experts: 8, k: 2 } });
const params = await realize(model.init(random.key(0)));
const ids = random.randint(random.key(1), [batch, context + 1], { max: vocab });
const text = { tokens: ids.slice([], [0, context]), targets: ids.slice([], [1, context + 1]) };
const options = { train: true, key: random.key(2) };
await realize(text);

const loss = (p: typeof params) => model.loss(p, text, options).loss;
const routers = treePaths(params).filter((path) => path.includes(".router."));
const routerTree = params.layers.map((layer) => layer.moe!.router);
const lossOfRouters = (some: typeof routerTree) =>
  loss({ ...params, layers: params.layers.map((layer, i) => ({ ...layer, moe: { ...layer.moe!, router: some[i] } })) });

const rows = [
  { what: "all routers", ...(await compare(() => gradParts(lossOfRouters)(routerTree), routers)) },
  { what: "all parameters", ...(await compare(() => gradParts(loss)(params))) },
];
console.log(JSON.stringify({ rows } satisfies LedgerTimes));
process.exit(0);

async function compare(parts: () => { class: { term?: string }; grads: unknown }[], parameters?: string[]) {
  const [plain, split, described]: [number[], number[], number[]] = [[], [], []];
  let made = parts();
  const classes = made.length;
  const terms = new Set(made.map((part) => part.class.term)).size;
  const whole = { explain: false, ...(parameters && { parameters }) };
  for (let round = 0; round < 6; round++) {
    plain.push(await timed(() => valueAndGrad(loss)(params)));
    split.push(await timed(() => (made = parts()).map(({ grads }) => grads)));
    described.push(await timedLedger(whole));
  }
  const [plainMs, partsMs, ledgerMs] = [plain, split, described].map((times) => median(times.slice(1)));
  return { classes, terms, plainMs, partsMs, ledgerMs };
}

/** All of it: written, computed, read, and each entry's numbers. */
async function timedLedger(how: { explain: boolean; parameters?: string[] }): Promise<number> {
  const began = performance.now();
  const book = await ledger(loss)(params, how);
  for (const path of book.parameters) for (const { share } of book.of(path).parts) if (Number.isNaN(share)) return NaN;
  return performance.now() - began;
}

async function timed(write: () => unknown): Promise<number> {
  const began = performance.now();
  const tree = write();
  await realize(tree);
  const ms = performance.now() - began;
  treeMap((t) => (t.dispose(), t), treeLeaves(tree));
  return ms;
}
