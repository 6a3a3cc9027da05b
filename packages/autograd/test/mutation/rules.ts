import { readdirSync, readFileSync } from "node:fs";
import { parseAst } from "vitest/node";
import { mutantsOf, type Mutant } from "./mutants.ts";

/** A file of gradient rules, with its mutants numbered from `first` on. */
export interface RuleFile {
  readonly url: string;
  readonly name: string;
  readonly source: string;
  readonly mutants: readonly Mutant[];
  readonly first: number;
}

const folder = new URL("../../src/rules/", import.meta.url);

/** The rules and all their mutants: the same numbers in every process. */
export function ruleFiles(): RuleFile[] {
  let first = 0;
  return readdirSync(folder)
    .toSorted()
    .map((name) => {
      const url = new URL(name, folder);
      const source = readFileSync(url, "utf8");
      const mutants = mutantsOf(source, parseAst(source, { lang: "ts" }, name));
      const file = { url: url.href, name, source, mutants, first };
      first += mutants.length;
      return file;
    });
}
