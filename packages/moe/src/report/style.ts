/** Series by number, as a colour that fits the page by day and by night. */
export const seriesColor = (index: number): string => `var(--s${index % 8})`;

/** The hue of an expert, as far from its neighbours' as can be. */
export const expertHue = (expert: number): number => Math.round((expert * 137.508 + 250) % 360);

const day = ["#2563c9", "#c8641b", "#2c8a57", "#b8344b", "#7650c0", "#0f8290", "#8a5b2c", "#b8468f"];
const night = ["#7fabff", "#f3a261", "#67cc98", "#ff8593", "#b9a0ff", "#57c9d4", "#d3a879", "#ef8fcb"];
const series = (colors: readonly string[]): string => colors.map((color, i) => `--s${i}:${color}`).join(";");

const nightColors = `
  color-scheme: dark; --paper:#14161a; --ink:#e6e7ea; --muted:#9aa0aa; --faint:#6a717c; --line:#2b2f37; --card:#1a1d22;
  --more:#ff8f5e; --less:#6aa5ff; --token-l:0.42; --token-c:0.1; ${series(night)};`;

export const style = `
:root { color-scheme: light; --paper:#fdfdfb; --ink:#1b1d21; --muted:#666c76; --faint:#9aa0a8; --line:#e3e4e1; --card:#f6f6f3;
  --more:#d2501b; --less:#2a62c4; --token-l:0.88; --token-c:0.085; ${series(day)}; }
@media (prefers-color-scheme: dark) { :root:not([data-theme=light]) { ${nightColors} } }
:root[data-theme=dark] { ${nightColors} }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.55 "Iowan Old Style", "Palatino Linotype", Palatino, "Book Antiqua", Georgia, serif; }
main { max-width: 1120px; margin: 0 auto; padding: 44px 20px 80px; }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 4px; letter-spacing: -0.01em; font-weight: 600; }
h2 { font-size: 19px; margin: 46px 0 14px; padding-top: 14px; border-top: 1px solid var(--line); font-weight: 600; }
p.sub { margin: 0; color: var(--muted); }
svg, table, .tiles, .legend, .controls, figcaption b { font-family: ui-sans-serif, system-ui, "Segoe UI", Helvetica, Arial, sans-serif; }
.tiles { display: grid; grid-template-columns: repeat(4, minmax(0, 1fr)); gap: 1px; margin: 26px 0 0; background: var(--line); border: 1px solid var(--line); border-radius: 8px; overflow: hidden; }
.tile { background: var(--paper); padding: 13px 16px; }
.tile b { display: block; font-size: 21px; font-weight: 600; font-variant-numeric: tabular-nums; letter-spacing: -0.01em; }
.tile span { color: var(--muted); font-size: 12.5px; }
.figures { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 26px 40px; }
.figures .wide { grid-column: 1 / -1; }
@media (max-width: 760px) { .figures { grid-template-columns: minmax(0, 1fr); } .tiles { grid-template-columns: repeat(2, minmax(0, 1fr)); } }
figure { margin: 0; min-width: 0; }
figure svg { max-width: 100%; height: auto; display: block; overflow: visible; }
figcaption { color: var(--muted); font-size: 13.5px; line-height: 1.45; margin-top: 4px; max-width: 66ch; }
figcaption b { color: var(--ink); font-weight: 600; font-size: 12.5px; margin-right: 0.35em; }
.legend { display: flex; flex-wrap: wrap; gap: 3px 16px; font-size: 12.5px; color: var(--muted); margin: 0 0 2px 52px; }
.legend i { display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin-right: 6px; vertical-align: -1px; }
table { border-collapse: collapse; font-size: 13px; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 5px 14px 5px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--muted); font-weight: 500; }
td.number, th.number { text-align: right; }
td.differs { color: var(--s1); font-weight: 600; }
td.text { font: 13px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; white-space: pre-wrap; overflow-wrap: anywhere; }
td.text em { font-style: normal; color: var(--muted); }
.scroll { overflow-x: auto; }
ul.findings { margin: 0; padding-left: 1.15em; } ul.findings li { margin: 4px 0; } ul.findings li::marker { color: var(--muted); }
ul.findings li.warns::marker { content: "▲ "; color: var(--s1); }
.controls { display: flex; flex-wrap: wrap; gap: 6px; margin: 0 0 10px; font-size: 13px; }
.controls label { border: 1px solid var(--line); border-radius: 6px; padding: 3px 11px; cursor: pointer; color: var(--muted); }
.controls input { position: absolute; opacity: 0; }
.controls label:has(input:checked) { background: var(--ink); color: var(--paper); border-color: var(--ink); }
.controls label:has(input:focus-visible) { outline: 2px solid var(--s0); outline-offset: 2px; }
.passage { font: 14px/1.85 ui-monospace, "SF Mono", Menlo, Consolas, monospace; white-space: pre-wrap; overflow-wrap: anywhere; display: none; border: 1px solid var(--line); border-radius: 8px; padding: 14px 18px; background: var(--card); }
.passage span, .swatch { background: oklch(var(--token-l) var(--token-c) var(--h)); border-radius: 2px; padding: 1px 0; }
.swatch { display: inline-block; width: 11px; height: 11px; margin-right: 6px; vertical-align: -1px; border-radius: 3px; }
footer { margin-top: 56px; color: var(--muted); font-size: 13px; }
@media print { .controls { display: none; } figure { break-inside: avoid; } }
`;
