/** A report's chart as SVG: horizontal bars in groups, drawn without a library so that the file is the same for the same numbers. */
import { round, type Chart } from "./report.ts";

const colours = [
  "#1b6ca8",
  "#58a6d6",
  "#8d99ae",
  "#b5651d",
  "#e0a458",
  "#6a994e",
  "#a7c957",
  "#9d4edd",
  "#c77dff",
  "#444",
];
const [labelWidth, barWidth, rowHeight, gap] = [260, 420, 18, 12];

export function svgOf({ title, unit, bars }: Chart, caption: string): string {
  const shown = bars.filter(({ value }) => Number.isFinite(value));
  const groups = [...new Set(shown.map(({ group }) => group))];
  const labels = [...new Set(shown.map(({ label }) => label))];
  const most = Math.max(...shown.map(({ value }) => value), 1e-30);
  const parts: string[] = [];
  let y = 48;
  for (const group of groups) {
    parts.push(text(8, y + 12, group, 'font-weight="600"'));
    y += rowHeight;
    for (const { label, value } of shown.filter((bar) => bar.group === group)) {
      const width = Math.max(1, (value / most) * barWidth);
      parts.push(text(labelWidth - 8, y + 12, label, 'text-anchor="end"'));
      parts.push(
        `<rect x="${labelWidth}" y="${y + 2}" width="${width.toFixed(1)}" height="${rowHeight - 4}" fill="${colours[labels.indexOf(label) % colours.length]}"/>`,
      );
      parts.push(text(labelWidth + width + 6, y + 12, `${round(value)}`));
      y += rowHeight;
    }
    y += gap;
  }
  const [width, height] = [labelWidth + barWidth + 90, y + 20];
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif" font-size="12">`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    text(8, 22, `${title} (${unit})`, 'font-size="15" font-weight="600"'),
    ...parts,
    text(8, y + 8, caption, 'fill="#666" font-size="10"'),
    "</svg>\n",
  ].join("\n");
}

const text = (x: number, y: number, content: string, attributes = ""): string =>
  `<text x="${x.toFixed(1)}" y="${y}" ${attributes}>${content.replaceAll("&", "&amp;").replaceAll("<", "&lt;")}</text>`;
