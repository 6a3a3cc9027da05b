/** The page's style, light and dark. Colours of terms are told apart by lightness, too. */
export const style = `
:root { color-scheme: light dark; --ink: light-dark(#1c2430, #dfe5ee); --soft: light-dark(#5b6675, #93a0b3); --paper: light-dark(#f6f7f9, #12161d);
  --card: light-dark(#fff, #1a202a); --line: light-dark(#e1e5ea, #2b3442); --up: light-dark(#1769c5, #5aa9ff); --down: light-dark(#c43d2b, #ff7d68);
  --t0: light-dark(#3d5a80, #8fb3e0); --t1: light-dark(#d9822b, #f2ab5e); --t2: light-dark(#2a9d78, #57d0a7); --t3: light-dark(#8e4ec6, #c493f0);
  --t4: light-dark(#c2255c, #f783ac); --t5: light-dark(#6b7a12, #c0d04a); }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
header, main { max-width: 1240px; margin: 0 auto; padding: 0 24px; }
header { padding-top: 36px; padding-bottom: 12px; }
.over { margin: 0; color: var(--soft); letter-spacing: .06em; text-transform: uppercase; font-size: 12px; }
h1 { font-size: 28px; font-weight: 650; margin: 4px 0; } h2 { font-size: 16px; margin: 0 0 10px; }
code { font-family: ui-monospace, monospace; font-size: .92em; } .meta, .note { color: var(--soft); margin: 4px 0; } .note { font-size: 13px; max-width: 90ch; }
main { display: grid; grid-template-columns: 1fr 1fr; gap: 18px; padding-bottom: 60px; }
section { grid-column: 1 / -1; background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 18px 20px; min-width: 0; }
section.half { grid-column: auto; }
@media (max-width: 860px) { section.half { grid-column: 1 / -1; } }
table.bars { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13.5px; }
.bars th { text-align: left; font-weight: 500; padding: 4px 10px 4px 0; } .bars td { text-align: right; padding: 4px 0 4px 10px; white-space: nowrap; }
.bars thead td { color: var(--soft); font-size: 12px; } .bars td.bar, .bars td.stack { width: 34%; text-align: left; } .bars td.scope { text-align: left; color: var(--soft); }
.bars td.bar { border-left: 1px solid var(--line); padding-left: 0; } .bars i { display: inline-block; height: 12px; background: var(--t0); vertical-align: middle; border-radius: 0 3px 3px 0; min-width: 1px; }
.bars td.stack { line-height: 0; } .bars td.stack i { border-radius: 0; } .bars th code { font-size: 12px; }
i.term1 { background: var(--t1); } i.term2 { background: var(--t2); } i.term3 { background: var(--t3); } i.term4 { background: var(--t4); } i.term5 { background: var(--t5); }
.graph { overflow: auto; max-height: 900px; text-align: center; } .graph svg { max-width: 100%; height: auto; }
.graph text { fill: var(--ink); stroke: none; } .graph .cluster polygon { fill: none; stroke: var(--line); } .graph .cluster text { fill: var(--soft); }
.graph .node path, .graph .node polygon, .graph .node ellipse { fill: var(--paper); stroke: var(--soft); stroke-width: 1; }
.graph .node.term polygon { fill: color-mix(in srgb, var(--t1) 18%, var(--card)); } .graph .node.loss path { fill: var(--ink); } .graph .node.loss text { fill: var(--card); font-weight: 600; }
.graph .node.parameter { cursor: pointer; } .graph .node.parameter ellipse { fill: color-mix(in srgb, var(--t0) 22%, var(--card)); stroke: var(--t0); }
.graph .node.parameter:hover ellipse, .graph .node.parameter:focus ellipse { stroke-width: 3; }
.graph .edge path { stroke: var(--t0); opacity: .75; } .graph .edge polygon { fill: var(--t0); stroke: none; opacity: .85; }
.graph .term1 path { stroke: var(--t1); } .graph .term1 polygon { fill: var(--t1); } .graph .term2 path { stroke: var(--t2); } .graph .term2 polygon { fill: var(--t2); }
.graph .term3 path { stroke: var(--t3); } .graph .term3 polygon { fill: var(--t3); } .graph .term4 path { stroke: var(--t4); } .graph .term4 polygon { fill: var(--t4); }
.graph .term5 path { stroke: var(--t5); } .graph .term5 polygon { fill: var(--t5); }
.graph .lighting .node, .graph .lighting .edge { opacity: .12; } .graph .lighting .lit { opacity: 1; } .graph g { transition: opacity .15s; }
.buttons { display: flex; flex-wrap: wrap; gap: 8px; margin: 0 0 12px; }
button { font: inherit; font-size: 13px; color: inherit; background: none; border: 1px solid var(--line); border-radius: 999px; padding: 4px 14px; cursor: pointer; }
button[aria-pressed=true] { background: var(--ink); color: var(--card); border-color: var(--ink); } button small { opacity: .65; }
.heatmap { overflow-x: auto; } .heatmap svg { display: block; margin-bottom: 8px; } .heatmap rect { width: 7.5px; height: 7.5px; rx: 1.5px; } .heatmap .ground { fill: var(--paper); rx: 3px; } .heatmap .nan { fill: var(--ink); }
.heatmap text { font: 8px ui-monospace, monospace; fill: var(--soft); text-anchor: middle; } .up { fill: var(--up); color: var(--up); } .down { fill: var(--down); color: var(--down); }
details summary { cursor: pointer; color: var(--soft); } details table { margin-top: 10px; } ul { margin: 0; padding-left: 20px; }
`;
