import fc from "fast-check";
import { expect, test } from "vitest";
import { fold } from "../../src/cli/fold.ts";

test("a line that is too long breaks between words, under its indent", () => {
  expect(fold("  one two three", 10)).toBe("  one two\n  three");
  expect(fold("short\n  one two three four", 12)).toBe("short\n  one two\n  three four");
});

test("what follows a name and a gap stays beside the name", () => {
  expect(fold("  of which  one two three four", 26)).toBe(`  of which  one two three\n${" ".repeat(12)}four`);
});

test("a word that is longer than the terminal stays whole", () => {
  expect(fold("  abcdefghij kl", 8)).toBe("  abcdefghij kl");
});

test("where there is no terminal nothing is broken", () => {
  expect(fold("one two three", undefined)).toBe("one two three");
});

test("the words are the same, and lines fit if words do", () => {
  const words = fc.array(fc.stringMatching(/^[a-z,]{1,9}$/), { minLength: 1 });
  fc.assert(
    fc.property(words, fc.nat(4), fc.integer({ min: 20, max: 60 }), (list, indent, columns) => {
      const folded = fold(" ".repeat(indent) + list.join(" "), columns);
      expect(folded.trim().split(/\s+/)).toEqual(list);
      for (const line of folded.split("\n")) expect(line.length).toBeLessThanOrEqual(columns);
    }),
  );
});
