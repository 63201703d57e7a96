/** Style sheet of a report: no fonts or images from elsewhere, light or dark as the reader's system is, printable. */
export const STYLE = `
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent); --soft: color-mix(in srgb, currentColor 62%, transparent); --tint: color-mix(in srgb, currentColor 5%, transparent); }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2.5rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.6rem; margin: 0 0 .2rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2.2rem 0 .6rem; padding-bottom: .2rem; border-bottom: 1px solid var(--line); }
p.soft, figcaption, dt, th { color: var(--soft); }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .8rem; margin: 1.2rem 0; padding: 0; list-style: none; }
.cards li { background: var(--tint); border-radius: .5rem; padding: .7rem .9rem; }
.cards strong { display: block; font-size: 1.35rem; font-variant-numeric: tabular-nums; }
.cards span { color: var(--soft); font-size: .85rem; }
figure { margin: 0; } figure svg { width: 100%; height: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .88rem; }
th { text-align: left; font-weight: normal; } th, td { padding: .25rem .6rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere; }
td.number, th.number { text-align: right; white-space: nowrap; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; margin: .4rem 0; } dd { margin: 0; overflow-wrap: anywhere; }
.texts { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem; } .texts div { background: var(--tint); border-radius: .5rem; padding: .7rem .9rem; white-space: pre-wrap; overflow-wrap: anywhere; }
.texts em { color: var(--soft); font-style: normal; } .texts b { display: block; font-weight: normal; color: var(--soft); font-size: .85rem; }
ol.stages { padding-left: 1.3rem; } ol.stages code { background: var(--tint); border-radius: .25rem; padding: 0 .3rem; margin-right: .4rem; display: inline-block; }
details summary { cursor: pointer; margin: .6rem 0; }
@media (max-width: 40rem) { .texts { grid-template-columns: 1fr; } }
`;
