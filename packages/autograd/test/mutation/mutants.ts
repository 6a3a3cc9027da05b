/** A change of one expression of a source, such as someone might make by mistake. */
export interface Mutant {
  readonly start: number;
  readonly end: number;
  readonly replacement: string;
  readonly line: number;
}

type Range = Pick<Mutant, "start" | "end">;

/** A node of an ESTree. */
interface Syntax extends Range {
  readonly type: string;
  readonly [field: string]: unknown;
}

/** An expression and what takes its place. */
type Change = readonly [at: Range, replacement: string];

const swappedMethods: Record<string, string> = {
  add: "sub",
  sub: "add",
  mul: "div",
  div: "mul",
  sin: "cos",
  cos: "sin",
  eq: "ne",
  ne: "eq",
  gt: "ge",
  ge: "gt",
  lt: "le",
  le: "lt",
  and: "or",
  or: "and",
  argMax: "argMin",
  argMin: "argMax",
};

const swappedOperators: Record<string, string> = {
  "+": "-",
  "-": "+",
  "*": "/",
  "/": "*",
  "*=": "/=",
  "+=": "-=",
  "===": "!==",
  "!==": "===",
  "<": "<=",
  "<=": "<",
  ">": ">=",
  ">=": ">",
  "&&": "||",
  "||": "&&",
};

/** Every mutant of a parsed source, in the order of the text. Messages, types and imports are left alone. */
export function mutantsOf(source: string, program: unknown): Mutant[] {
  const mutants: Mutant[] = [];
  const visit = (node: Syntax): void => {
    if (/^TS(Satisfies|As)Expression$/.test(node.type)) return visit(node.expression as Syntax);
    if (/^TS|^ThrowStatement$|^TemplateLiteral$|^Import/.test(node.type)) return;
    for (const [{ start, end }, replacement] of changesOf(node, source))
      mutants.push({ start, end, replacement, line: source.slice(0, start).split("\n").length });
    for (const child of childrenOf(node)) visit(child);
  };
  visit(program as Syntax);
  return mutants;
}

const childrenOf = (node: Syntax): Syntax[] => Object.values(node).flatMap((field) => [field].flat().filter(isSyntax));

const isSyntax = (x: unknown): x is Syntax => typeof x === "object" && x !== null && "type" in x && "start" in x;

function changesOf(node: Syntax, source: string): Change[] {
  const text = ({ start, end }: Range): string => source.slice(start, end);
  const changed = (...edits: readonly (readonly [Range, string])[]): Change => [node, edited(source, node, edits)];
  switch (node.type) {
    case "CallExpression":
      return changedCalls(node, text, changed);
    case "BinaryExpression":
    case "LogicalExpression":
    case "AssignmentExpression": {
      const [left, right] = [node.left, node.right] as [Syntax, Syntax];
      const other = swappedOperators[node.operator as string];
      return other === undefined ? [] : [[node, `${text(left)} ${other} ${text(right)}`]];
    }
    case "ConditionalExpression": {
      const [yes, no] = [node.consequent, node.alternate] as [Syntax, Syntax];
      return [changed([yes, text(no)], [no, text(yes)])];
    }
    case "IfStatement":
      return [[node.test as Syntax, `!(${text(node.test as Syntax)})`]];
    case "UnaryExpression":
      return node.operator === "!" || node.operator === "-" ? [[node, text(node.argument as Syntax)]] : [];
    case "Literal":
      if (typeof node.value === "number") return [[node, `${node.value + 1}`]];
      return typeof node.value === "boolean" ? [[node, `${!node.value}`]] : [];
    case "ArrowFunctionExpression":
      return forgottenCotangents(node.body as Syntax);
    case "ReturnStatement":
      return isSyntax(node.argument) ? forgottenCotangents(node.argument) : [];
    default:
      return [];
  }
}

/** A call by another name, one left out, or with its last two arguments exchanged. */
function changedCalls(
  node: Syntax,
  text: (at: Range) => string,
  changed: (...edits: readonly (readonly [Range, string])[]) => Change,
): Change[] {
  const callee = node.callee as Syntax;
  const args = node.arguments as Syntax[];
  const name = (callee.type === "MemberExpression" ? callee.property : callee) as Syntax;
  const other = swappedMethods[text(name)];
  const changes: Change[] = other === undefined ? [] : [changed([name, other])];
  if (callee.type === "MemberExpression" && args.length === 0) changes.push([node, text(callee.object as Syntax)]);
  if (text(name) === "where" && args.length === 3)
    changes.push(changed([args[1], text(args[2])], [args[2], text(args[1])]));
  return changes;
}

/** A cotangent that is not given, of a returned list of them. */
const forgottenCotangents = (value: Syntax): Change[] =>
  value.type === "ArrayExpression"
    ? (value.elements as Syntax[])
        .filter(({ type }) => type !== "Literal" && type !== "SpreadElement")
        .map((element) => [element, "null"])
    : [];

/** A part of a source with parts of it exchanged, which come in order. */
function edited(source: string, { start, end }: Range, edits: readonly (readonly [Range, string])[]): string {
  let [out, at] = ["", start];
  for (const [range, replacement] of edits) {
    out += source.slice(at, range.start) + replacement;
    at = range.end;
  }
  return out + source.slice(at, end);
}

/**
 * The source with all its mutants in it, and an expression that says which one is alive: none where that is no mutant's number.
 *
 * @param first the number of the first mutant.
 */
export function withSwitches(source: string, mutants: readonly Mutant[], alive: string, first: number): string {
  const numbered = mutants.map((mutant, i) => ({ ...mutant, number: first + i }));
  const rewrite = (within: Range, candidates: typeof numbered): string => {
    const edits: [Range, string][] = [];
    let end = within.start;
    for (const { start, end: last } of candidates.toSorted((a, b) => a.start - b.start || b.end - a.end)) {
      if (start < end) continue;
      end = last;
      const here = candidates.filter((m) => m.start === start && m.end === last);
      const inside = candidates.filter((m) => m.start >= start && m.end <= last && !here.includes(m));
      const original = rewrite({ start, end: last }, inside);
      const switched = here.reduceRight(
        (rest, m) => `${alive} === ${m.number} ? (${m.replacement}) : ${rest}`,
        `(${original})`,
      );
      edits.push([{ start, end: last }, `(${switched})`]);
    }
    return edited(source, within, edits);
  };
  return rewrite({ start: 0, end: source.length }, numbered);
}
