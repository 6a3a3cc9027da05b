import { GradientError, init, mark, scope, ShapeError, tensor, term, type Tensor } from "@switchyard/tensor";
import { customVjp, grad, ledger, type LedgerJson } from "@switchyard/autograd";
import { describe, expect, test } from "vitest";

await init("cpu");

interface Params {
  w: Tensor;
  v: Tensor;
}
const f64 = (values: readonly number[]): Tensor => tensor(values, { dtype: "f64" });
const params = (): Params => ({ w: f64([0.5, -1]), v: f64([2, 0.3]) });

/** d/dw of the task is v cos(w v), of the balance 0.2 w. */
const model = (p: Params) => {
  const h = scope("layer", () => mark("hidden", p.w.mul(p.v)));
  const balance = scope("router", () => term("balance", p.w.square().sum()));
  return { loss: h.sin().sum().add(balance.mul(0.1)), h };
};
const w = [0.5, -1];
const v = [2, 0.3];
const task = w.map((_, i) => v[i] * Math.cos(w[i] * v[i]));
const balance = w.map((x) => 0.2 * x);
const total = task.map((t, i) => t + balance[i]);
const norm = (xs: readonly number[]): number => Math.hypot(...xs);
const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((s, x, i) => s + x * b[i], 0);
const close = (xs: readonly number[]) => xs.map((x) => expect.closeTo(x, 12));

describe("what is not finite", () => {
  const astray = (order: readonly string[]) => (p: { w: Tensor }) => {
    const parts: { readonly [name: string]: Tensor } = {
      small: p.w.sum(),
      large: p.w.sum().mul(10),
      nan: p.w.mul(NaN).sum(),
      infinite: p.w.mul(Infinity).sum(),
    };
    return order.map((name) => term(name, parts[name])).reduce((sum, part) => sum.add(part));
  };
  const orders = [
    ["small", "nan", "large", "infinite"],
    ["nan", "small", "infinite", "large"],
    ["large", "infinite", "small", "nan"],
  ];

  test.each(orders)("comes first, in the order it came, and the rest by size (%s, %s, %s, %s)", async (...order) => {
    const book = await ledger(astray(order))({ w: f64([1, 2]) });
    const terms = book.of("w").parts.map((part) => part.class.term);
    const wild = terms.slice(0, 2);
    expect([new Set(wild), terms.slice(2)]).toEqual([new Set(["infinite", "nan"]), ["large", "small"]]);
    expect(book.toJSON().entries[0].parts.map((part) => part.class.term)).toEqual(terms);
    const lines = String(book).split("\n").slice(3);
    expect(lines.slice(1, 5).map((line) => line.trim().split(" ")[0])).toEqual(terms);
    // Numbers stay flush right.
    expect(new Set(lines.slice(0, 5).map((line) => line.length)).size).toBe(1);
    const change = book.diff(await ledger(astray(order))({ w: f64([1, 2]) })).changes.map((part) => part.class.term);
    expect(new Set(change.slice(0, 2))).toEqual(new Set(["infinite", "nan"]));
  });

  test("is kept by JSON: what was saved compares as what is at hand", async () => {
    const [book, steady] = await Promise.all(
      [orders[0], ["small", "large"]].map((order) => ledger(astray(order))({ w: f64([1, 2]) })),
    );
    const saved = JSON.parse(JSON.stringify(book)) as LedgerJson;
    expect(saved).toEqual(book.toJSON());
    const norms = saved.entries[0].parts.map((part) => part.norm);
    expect(norms.filter((size) => typeof size === "string").toSorted()).toEqual(["Infinity", "NaN"]);
    const alike = steady.diff(book).changes.map(({ where, class: cls, norms: sizes, shares, change }) => ({
      where,
      class: cls,
      norms: sizes,
      shares,
      change,
    }));
    expect(steady.diff(saved).losses).toEqual([30 + 3, NaN]);
    expect(steady.diff(saved).changes).toEqual(expect.arrayContaining(alike));
    expect(String(steady.diff(saved))).toMatch(/w +nan +0 +NaN +NaN%/);
  });
});

describe("an entry", () => {
  test("has the total, its parts, and how much each weighs, as formulas give them", async () => {
    const book = await ledger(model)(params());
    const entry = book.of("w");
    expect([...(await entry.total.data())]).toEqual(close(total));
    expect(entry.norm).toBeCloseTo(norm(total), 12);
    expect(entry.parts.map((part) => part.class)).toEqual([{ scope: "layer" }, { term: "balance", scope: "router" }]);
    for (const [i, expected] of [task, balance].entries()) {
      const part = entry.parts[i];
      expect([...(await part.contribution.data())]).toEqual(close(expected));
      expect(part.norm).toBeCloseTo(norm(expected), 12);
      expect(part.share).toBeCloseTo(dot(expected, total) / norm(total) ** 2, 12);
      expect(part.cosine).toBeCloseTo(dot(expected, total) / norm(total) / norm(expected), 12);
    }
    expect(entry.parts.reduce((sum, part) => sum + part.share, 0)).toBeCloseTo(1, 12);
    expect(entry.left).toBeCloseTo(norm(total) / (norm(task) + norm(balance)), 12);
  });

  test("can be that of one element", async () => {
    const entry = (await ledger(model)(params())).of("w", [1]);
    expect([entry.total.shape, await entry.total.item()]).toEqual([[], expect.closeTo(total[1], 12)]);
    const numbers = entry.parts.map(({ class: { term: name }, norm: size, share }) => [name, size, share]);
    expect(numbers).toEqual([
      [undefined, expect.closeTo(Math.abs(task[1]), 12), expect.closeTo(task[1] / total[1], 12)],
      ["balance", expect.closeTo(0.2, 12), expect.closeTo(balance[1] / total[1], 12)],
    ]);
  });

  test("is found by path, by the parameter itself, or by a mark", async () => {
    const p = params();
    const book = await ledger(model)(p);
    expect(book.of(p.v).where).toBe("v");
    expect(book.marks).toEqual(["layer/hidden"]);
    const arriving = [...(await book.of("hidden").total.data())];
    expect(arriving).toEqual(close(w.map((_, i) => Math.cos(w[i] * v[i]))));
    expect(book.of("layer/hidden").parts.map((part) => part.class)).toEqual([{}]);
  });

  test("lists the steps of its strongest path, the loss first, with what arrived at each", async () => {
    const { steps } = (await ledger(model)(params())).of("w");
    expect(steps.map(({ op, rule, scope: where }) => [op, rule, where])).toEqual([
      ["add", "map", ""],
      ["sum", "reduce", ""],
      ["sin", "map", ""],
      ["mark hidden", "tag", "layer"],
      ["mul", "map", "layer"],
    ]);
    const cosines = w.map((_, i) => Math.cos(w[i] * v[i]));
    expect(steps.at(-1)).toMatchObject({
      norm: expect.closeTo(norm(cosines), 12),
      min: expect.closeTo(Math.min(...cosines), 12),
      max: expect.closeTo(Math.max(...cosines), 12),
      cosine: expect.closeTo(1, 12),
    });
    expect(steps.every((step) => step.firstNonFinite === undefined)).toBe(true);
  });

  test("tells the cosine of a step among what arrived there, though elsewhere the same cotangent arrived alone", async () => {
    const f = (p: Params): Tensor => {
      const [u, y] = [p.w.mul(1.5), p.v.mul(2)]; // what their sum gets, both get; u gets more
      return term("a", u.add(y).square().sum()).add(term("b", u.mul(f64([3, -5])).sum()));
    };
    const book = await ledger(f)(params());
    const cosineOf = (where: string): number =>
      book
        .of(where)
        .parts.find((part) => part.class.term === "a")!
        .steps.at(-1)!.cosine!;
    const given = w.map((a, i) => 2 * (1.5 * a + 2 * v[i]));
    const whole = given.map((g, i) => g + [3, -5][i]);
    expect(cosineOf("v")).toBeCloseTo(1, 12);
    expect(cosineOf("w")).toBeCloseTo(dot(given, whole) / norm(given) / norm(whole), 12);
  });

  test("of a scalar parameter has contributions that can be read", async () => {
    for (const [x, expected] of [
      [4, 0.25],
      [-1, NaN],
    ]) {
      const entry = (await ledger((p: { s: Tensor }) => p.s.sqrt())({ s: tensor(x) })).of("s");
      expect([await entry.total.item(), await entry.parts[0].contribution.item()]).toEqual([expected, expected]);
    }
  });

  test("measures steps without being asked only where there are few", async () => {
    const deep = (p: Params): Tensor => {
      let x = p.w;
      for (let i = 0; i < 1100; i++) x = x.mul(0.999);
      return x.sum();
    };
    const quick = (await ledger(deep)(params(), { parameters: ["w"] })).of("w");
    expect([quick.steps.length, quick.steps[0].norm]).toEqual([1101, undefined]);
    const asked = (await ledger(deep)(params(), { parameters: ["w"], explain: true })).of("w");
    expect(asked.steps.at(-1)!.norm).toBeCloseTo(Math.SQRT2 * 0.999 ** 1099, 10);
  });
});

describe("classes merge", () => {
  const three = (p: Params): Tensor => {
    const a = scope("a", () => term("t", p.w.square().sum()));
    const b = scope("b", () => term("t", p.w.sum().mul(3)));
    return a.add(b).add(scope("a", () => mark("m", p.w).sum()));
  };

  test("by term, scope or mark, into the sums of their parts", async () => {
    const book = await ledger(three)(params(), { marks: ["m"] });
    const contributions = async (entry: { parts: readonly { class: object; contribution: Tensor }[] }) =>
      Promise.all(entry.parts.map(async (p) => [p.class, [...(await p.contribution.data())]]));
    expect(book.of("w").parts).toHaveLength(3);
    expect(await contributions(book.by("term").of("w"))).toEqual([
      [{ term: "t" }, close([4, 1])],
      [{}, close([1, 1])],
    ]);
    expect(await contributions(book.by("scope").of("w"))).toEqual([
      [{ scope: "b" }, close([3, 3])],
      [{ scope: "a" }, close([2, -1])],
    ]);
    expect(await contributions(book.by("mark").of("w"))).toEqual([
      [{}, close([4, 1])],
      [{ marks: ["m"] }, close([1, 1])],
    ]);
    expect(await contributions(book.by("term").by("scope").of("w"))).toEqual([[{}, close([5, 2])]]);
  });
});

test("value is what the function returned, its loss computed", async () => {
  const book = await ledger(model)(params());
  const expected = w.reduce((sum, x, i) => sum + Math.sin(x * v[i]) + 0.1 * x * x, 0);
  expect([book.loss, await book.value.loss.item()]).toEqual(close([expected, expected]));
  expect(await book.value.h.item().catch(() => book.value.h.shape)).toEqual([2]);
});

test("parameters asked for are described, others are constants", async () => {
  const nested = (p: { layers: Params[]; head: Tensor }) => p.layers[0].w.mul(p.layers[1].v).mul(p.head).sum();
  const given = { layers: [params(), params()], head: f64([1, 2]) };
  const book = await ledger(nested)(given, { parameters: ["layers.1", "head"] });
  expect(book.parameters).toEqual(["layers.1.w", "layers.1.v", "head"]);
  expect([...(await book.of("head").total.data())]).toEqual(close([1, -0.3]));
});

test("what a nonlinear rule gives is a part of its own, and merges with no other", async () => {
  const clipped = customVjp({ forward: (x: Tensor) => x.mul(1), backward: (ct) => [ct.clip(-1, 1)], linear: false });
  const f = (p: Params): Tensor => term("a", clipped(p.w).sum()).add(p.w.sum());
  const entry = (await ledger(f)(params())).by("term").of("w");
  expect(entry.parts.map((part) => part.class)).toEqual(expect.arrayContaining([{ nonlinear: true }, {}]));
});

test("parts that cancel are reported", async () => {
  const f = (p: Params): Tensor => term("up", p.w.sum().mul(1000)).sub(term("down", p.w.sum().mul(999)));
  const book = await ledger(f)(params());
  expect(book.of("w").left).toBeCloseTo(1 / 1999, 8);
  expect(String(book)).toMatch(
    /w f64\[2\]: norm 1\.414\n.*\n.*up +1414 +100000\.0%.*\n.*down.*\n {2}parts cancel: 0\.1% of/,
  );
});

describe("a ledger is plain data", () => {
  test("that JSON keeps", async () => {
    const book = await ledger(model)(params());
    const json = JSON.parse(JSON.stringify(book)) as LedgerJson;
    expect(json).toEqual(book.toJSON());
    expect(json.entries.map(({ where, kind, shape, dtype }) => [where, kind, shape, dtype])).toEqual([
      ["w", "parameter", [2], "f64"],
      ["v", "parameter", [2], "f64"],
      ["layer/hidden", "mark", [2], "f64"],
    ]);
    expect(json.entries[0].parts[1]).toMatchObject({ class: { term: "balance", scope: "router" } });
  });

  test("that compares with another, of another step, seed or device, or with what was saved of it", async () => {
    const before = await ledger(model)(params());
    const after = await ledger((p: Params) => ({ loss: model(p).loss.add(term("more", p.w.sum())) }))(params());
    const { losses, changes, missing } = before.diff(JSON.parse(JSON.stringify(after)) as LedgerJson);
    expect(losses).toEqual([before.loss, after.loss]);
    expect(changes[0]).toEqual({
      where: "w",
      class: { term: "more" },
      norms: [0, expect.closeTo(Math.SQRT2)],
      shares: [0, expect.any(Number)],
      change: 1,
    });
    expect(changes.slice(1).every(({ change }) => change === 0)).toBe(true);
    expect(missing).toEqual({ before: [], after: [] });
    expect(String(before.diff(after)).split("\n")[2]).toMatch(/^w +more +0 +1\.414 +100\.0% +100\.0%$/);
    const turned = await ledger(model)({ w: f64([0.5, 1]), v: f64([2, 0.3]) });
    const found = before.diff(turned).changes.find((c) => c.where === "w" && c.class.term === "balance")!;
    expect([found.change, found.distance]).toEqual([0, expect.closeTo(0.4 / norm(balance))]);
    const nothing = await ledger((p: Params) => ({ loss: model(p).loss.add(term("none", p.w.sum().mul(0))) }))(
      params(),
    );
    expect(before.diff(nothing).changes.every(({ distance }) => distance === 0)).toBe(true);
    expect(() => before.diff({ ...after.toJSON(), version: 2 as never })).toThrow(/of this version/);
  });
});

describe("the graph of a ledger", () => {
  test("leads from the loss through terms and scopes to the parameters, with the norms of what flows", async () => {
    const { nodes, edges } = (await ledger(model)(params(), { parameters: ["w"] })).graph;
    expect(nodes.map(({ id }) => id).toSorted()).toEqual(
      ["loss", "parameter w", "scope layer", "scope router", "term router/balance"].toSorted(),
    );
    const flowing = edges.map(({ from, to, norm: size }) => [from, to, size]);
    expect(flowing).toEqual(
      expect.arrayContaining([
        ["loss", "term router/balance", expect.closeTo(0.1)],
        ["term router/balance", "scope router", expect.closeTo(0.1)],
        ["scope router", "parameter w", expect.closeTo(norm(balance))],
        ["scope layer", "parameter w", expect.closeTo(norm(task))],
      ]),
    );
    expect(edges).toHaveLength(5);
  });

  test("is drawn with what is not finite as the largest", async () => {
    const book = await ledger((p: Params) => scope("a", () => p.w.sqrt().sum()).add(p.v.sum()))(params());
    expect([...book.toDot().matchAll(/penwidth=(\S+)\]/g)].map(([, width]) => width)).toContain("8.00");
    expect(book.toDot()).not.toContain("penwidth=NaN");
  });

  test("is drawn by Graphviz, whatever scopes are called", async () => {
    const dot = (await ledger((p: Params) => scope('a "b" \\', () => p.w.sum()))(params())).toDot();
    expect(dot).toMatch(/^digraph gradient \{\n/);
    expect(dot).toContain('"scope a \\"b\\" \\\\" [label="a \\"b\\" \\\\", shape=box];');
    expect(dot).toMatch(/-> "parameter w" \[label="1\.414", penwidth=8\.00\];/);
  });
});

describe("bad input", () => {
  test("a loss that is no scalar, an async function and integer parameters are GradientErrors", async () => {
    await expect(ledger((p: Params) => p.w)(params())).rejects.toThrow(/ledger: the loss must be a float scalar/);
    await expect(ledger((async () => tensor(0)) as never)(params())).rejects.toThrow(/ledger: the function is async/);
    const integers = { w: tensor([1], { dtype: "i32" }) };
    await expect(ledger((p: typeof integers) => p.w.cast("f32").sum())(integers)).rejects.toThrow(/i32\[1\] at w/);
  });

  test("an unknown path is told with the closest, an index out of range with the shape", async () => {
    const book = await ledger(model)(params());
    expect(() => book.of("layr/hidden")).toThrow('ledger: nothing is at "layr/hidden"; did you mean "layer/hidden"?');
    expect(() => book.of(tensor(1))).toThrow(GradientError);
    expect(() => book.of("w", [2])).toThrow(new ShapeError("ledger: [2] is no element of w (f64[2])"));
    await expect(ledger(model)(params(), { parameters: ["x"] })).rejects.toThrow(/nothing is at "x"; there are w, v/);
    expect(() => book.of("everything")).toThrow('ledger: nothing is at "everything"; there are w, v');
    await expect(ledger(model)(params(), { marks: "hidden" as never })).rejects.toThrow(
      /marks must be an array of names/,
    );
  });

  test("by takes one of three properties", async () => {
    const book = await ledger((p: Params) => p.w.sum())(params());
    expect(() => book.by("terms" as never)).toThrow('ledger: by must be one of "term", "scope", "mark", got terms');
  });

  test("a tensor at two paths has two gradients, so it does not say which", async () => {
    const same = f64([1, 2]);
    const book = await ledger((p: Params) => p.w.mul(p.v).sum())({ w: same, v: same });
    expect(() => book.of(same)).toThrow(/at 2 paths.*ask for w or v/);
  });

  test("of marks of one name, the scope tells which", async () => {
    const f = (p: Params): Tensor => {
      const [a, b] = ["a", "b"].map((name) => scope(name, () => mark("m", p.w.mul(2))));
      return a.mul(b).sum();
    };
    const book = await ledger(f)(params());
    expect(book.marks).toEqual(["a/m", "b/m"]);
    expect(() => book.of("m")).toThrow(/2 marks "m"; name one with its scope: a\/m, b\/m/);
    expect([...(await book.of("a/m").total.data())]).toEqual(close([1, -2]));
  });

  test("a disposed parameter is a DisposedError", async () => {
    const p = params();
    p.w.dispose();
    await expect(ledger(model)(p)).rejects.toThrow(/was disposed/);
  });
});

test("a ledger that is disposed of leaves its numbers, and nothing on the device", async () => {
  const book = await ledger(model)(params());
  const part = book.of("w").parts[0];
  book.dispose();
  expect(book.of("w").norm).toBeCloseTo(norm(total), 12);
  await expect(part.contribution.data()).rejects.toThrow(/was disposed/);
});

test("the sum of a ledger is the plain gradient, also of the ledger's sum", async () => {
  const whole = [...(await grad(model)(params()).w.data())];
  const sum = (await ledger(model)(params())).of("w").total;
  expect([...(await sum.data())]).toEqual(close(whole));
});
