/**
 * Breaks lines that are longer than a terminal is wide between words, under what they begin with: their indent, or a name and the gap after it.
 *
 * @param columns of the terminal; undefined where there is none, and then nothing is broken.
 */
export const fold = (text: string, columns: number | undefined): string =>
  columns === undefined
    ? text
    : text
        .split("\n")
        .map((line) => foldLine(line, columns))
        .join("\n");

function foldLine(line: string, columns: number): string {
  const beginning = /^ *(?:\S+(?: \S+)* {2,})?/.exec(line)![0];
  const indent = beginning.length < columns / 2 ? beginning.length : 0;
  const lines: string[] = [];
  let rest = line;
  for (;;) {
    const gap = rest.length <= columns ? -1 : rest.lastIndexOf(" ", columns);
    if (gap <= indent) return [...lines, rest].join("\n"); // it fits, or is one long word
    lines.push(rest.slice(0, gap).trimEnd());
    rest = " ".repeat(indent) + rest.slice(gap + 1);
  }
}
