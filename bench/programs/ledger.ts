/** Times the gradient by class against the plain one, turn by turn, and prints both as JSON. */
import { init, random, realize } from "@switchyard/tensor";
import {
  gradParts,
  treeLeaves,
  treeMap,
  treePaths,
  treeUnflatten,
  treeFlatten,
  valueAndGrad,
} from "@switchyard/autograd";
import { transformer } from "@switchyard/moe";
import { median } from "../runner/statistics.ts";

export interface LedgerTimes {
  readonly rows: readonly {
    readonly what: string;
    readonly classes: number;
    /** How many cotangents are carried side by side. */
    readonly terms: number;
    readonly plainMs: number;
    readonly partsMs: number;
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
const [leaves, structure] = treeFlatten(params);
const paths = treePaths(params);
const isRouter = (path: string): boolean => path.includes(".router.");
const routers = leaves.filter((_, i) => isRouter(paths[i]));
const lossOfRouters = (some: typeof routers) => {
  const given = some.values();
  return loss(
    treeUnflatten(
      structure,
      leaves.map((leaf, i) => (isRouter(paths[i]) ? given.next().value! : leaf)),
    ),
  );
};

const rows = [
  { what: "all routers", ...(await compare(() => gradParts(lossOfRouters)(routers))) },
  { what: "all parameters", ...(await compare(() => gradParts(loss)(params))) },
];
console.log(JSON.stringify({ rows } satisfies LedgerTimes));
process.exit(0);

async function compare(parts: () => { class: { term?: string }; grads: unknown }[]) {
  const [plain, split]: [number[], number[]] = [[], []];
  let made = parts();
  const classes = made.length;
  const terms = new Set(made.map((part) => part.class.term)).size;
  for (let round = 0; round < 6; round++) {
    plain.push(await timed(() => valueAndGrad(loss)(params)));
    split.push(await timed(() => (made = parts()).map(({ grads }) => grads)));
  }
  return { classes, terms, plainMs: median(plain.slice(1)), partsMs: median(split.slice(1)) };
}

async function timed(write: () => unknown): Promise<number> {
  const began = performance.now();
  const tree = write();
  await realize(tree);
  const ms = performance.now() - began;
  treeMap((t) => (t.dispose(), t), treeLeaves(tree));
  return ms;
}
