"""The look of the page, light and dark."""

STYLE = """
:root { color-scheme: light dark; --ground: #fff; --text: #1c2530; --soft: #566473; --line: #d5dce4; --panel: #f5f7fa;
  --data: #8fa6bf; --draws: #c2410c; --accent: #1d5fa8; --good: #1a7f4b; --bad: #b42318; --band: #d9e6f4; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #12171d; --text: #e4e9ef; --soft: #a0adba; --line: #333e4a; --panel: #1a2129; --data: #5d7a99;
    --draws: #fb923c; --accent: #74b0f4; --good: #4ade80; --bad: #f87171; --band: #22384f; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--text); font: 1rem/1.5 system-ui, sans-serif; }
header, main, footer, nav ul { max-width: 70rem; margin: 0 auto; padding: 0 1rem; }
header { padding-top: 1.5rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 2.5rem 0 .5rem; padding-top: .5rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 0 0 .25rem; overflow-wrap: anywhere; }
p, ul, dl { margin: .5rem 0; max-width: 48rem; overflow-wrap: anywhere; }
a { color: var(--accent); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.skip { position: absolute; left: -100vw; }
.skip:focus { left: .5rem; top: .5rem; padding: .5rem; background: var(--ground); z-index: 1; }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1rem; list-style: none; margin: .75rem auto; }
.soft, figcaption, caption { color: var(--soft); font-size: .9rem; }
.headline { font-size: 1.2rem; font-weight: 600; }
.reasons { list-style: none; padding: 0; }
.reasons li { padding-left: 1.6rem; position: relative; margin: .25rem 0; }
.reasons li::before { position: absolute; left: .2rem; font-weight: 700; }
.good::before { content: "\\2713"; color: var(--good); }
.bad::before { content: "!"; color: var(--bad); }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.good-text { color: var(--good); } .bad-text { color: var(--bad); }
.told::before { content: "\\2022"; color: var(--soft); }
.wide { overflow-x: auto; max-width: 100%; margin: .75rem 0; }
table { border-collapse: collapse; font-size: .9rem; }
caption { text-align: left; padding-bottom: .35rem; }
th, td { text-align: left; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top;
  min-width: 5.5rem; max-width: 26rem; overflow-wrap: break-word; }
thead th { color: var(--soft); font-weight: 600; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; min-width: 0; }
thead .number { white-space: normal; }
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(21rem, 100%), 1fr)); gap: 1rem; }
.panel { background: var(--panel); border: 1px solid var(--line); border-radius: .4rem; padding: .75rem; min-width: 0; }
figure { margin: .5rem 0 0; }
figcaption { line-height: 1.35; overflow-wrap: anywhere; }
svg { display: block; width: 100%; height: auto; color: var(--text); }
svg text { font: 11px system-ui, sans-serif; fill: currentColor; }
svg .faint { fill: var(--soft); }
.data { fill: var(--data); } .drawn { fill: var(--draws); }
.step { fill: none; stroke: var(--draws); stroke-width: 1.75; stroke-linejoin: round; }
.axis { stroke: var(--line); } .mark { fill: var(--accent); } .whisker { stroke: var(--accent); stroke-width: 2; }
.band-line { stroke: var(--text); stroke-width: 2; }
.band { fill: var(--band); } .heat { fill: var(--accent); } .grid { fill: none; stroke: var(--line); stroke-width: .5; }
.key { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin: 0 .35em 0 .8em; }
.key.data { background: var(--data); } .key.drawn { background: var(--draws); } .key.band { background: var(--band); }
.spark { width: 6rem; } .spark svg { margin-top: .3rem; }
.beside { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(18rem, 100%), 1fr)); gap: 1rem; }
.pictures { display: block; width: 100%; height: auto; image-rendering: pixelated; border-radius: .25rem; }
.matrix { min-width: 24rem; max-width: 46rem; }
dt { font-weight: 600; } dd { margin: 0 0 .35rem; }
details { margin: .5rem 0; } td details { margin: 0; }
summary { cursor: pointer; color: var(--accent); overflow-wrap: anywhere; }
footer { margin: 3rem auto 2rem; padding-top: 1rem; border-top: 1px solid var(--line); }
@media print { .skip, nav { display: none; } .panel { break-inside: avoid; } }
"""
