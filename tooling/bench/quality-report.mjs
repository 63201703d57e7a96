// Renders docs/quality.md: our perplexities beside those of the reference implementations.
import { writeFileSync } from 'node:fs';
import { ROWS } from './quality-rows.mjs';

const key = ({ model, method, scheme }) => `${model} ${method} ${scheme}`;

/** The reference's row, by model, method and scheme. */
export function findReference(reference, { model, method, scheme }) {
  const entry = Object.values(reference.models).find((candidate) => candidate.model === model);
  return entry.results.find((result) => result.method === method && result.scheme === scheme);
}

/**
 * How far a perplexity may lie above a reference: the reference's own stated spread over calibration subsets, as a share;
 * where it states none, the largest spread stated for the same model.
 */
export function spreadOf(reference, row) {
  const entry = Object.values(reference.models).find((candidate) => candidate.model === row.model);
  const share = (result) => (result?.spread ? result.spread.max / result.spread.min - 1 : undefined);
  return share(findReference(reference, row)) ?? Math.max(...entry.results.map((result) => share(result) ?? 0));
}

/**
 * Where a perplexity lies beside the reference's. `neighbours`: ours with a damping a little higher and lower, which says how
 * far rounding alone carries a sweep over columns.
 */
export function verdict({ perplexity: ours, neighbours = [] }, theirs, spread) {
  if (ours <= theirs * (1 + 1e-4)) return ours < theirs * (1 - spread) ? 'better' : 'equal or better';
  if (ours <= theirs * (1 + spread)) return 'within the spread';
  const all = [ours, ...neighbours].sort((a, b) => a - b);
  const range = `${all[0].toFixed(3)} to ${all.at(-1).toFixed(3)}`;
  return neighbours.length > 0 && all[0] <= theirs ? `within rounding (${range})` : 'worse';
}

/** Whether the method beats its control as the reference's does. */
function control(rows, reference, row) {
  if (!row.control) return '';
  const naive = { ...row, method: row.control };
  const [ours, oursNaive] = [rows[key(row)]?.perplexity, rows[key(naive)]?.perplexity];
  const [theirs, theirsNaive] = [findReference(reference, row), findReference(reference, naive)];
  if (ours === undefined || oursNaive === undefined) return '';
  const beats = ours < oursNaive;
  const shouldBeat = theirs !== undefined && theirsNaive !== undefined && theirs.perplexity < theirsNaive.perplexity;
  return `${beats ? 'beats' : 'loses to'} ${row.control}${!beats && !shouldBeat ? ', as the reference does' : ''}`;
}

/** Writes the page. */
export function renderQuality({ rows, reference, target }) {
  const parts = [
    `---
title: Quality
---

# Quality

Made by \`npm run quality\`: each row is run through the command line, and its artefact evaluated from disk, under the protocol of the
reference table. Perplexity; lower is better. The reference rows were made by llm-compressor or by plain PyTorch after the papers.

${reference.protocol.perplexity}

Calibration: the first 128 windows of 256 tokens of the calibration text. A row is _within the spread_ where ours is above the
reference's by no more than the reference's perplexities differ between calibration texts (where it states no spread: the largest that it
states for the model). Where a sweep over columns (GPTQ, SparseGPT) comes out above that, it is run again with a damping 0.1 and 1 percent
higher and lower: a step of rounding early in a sweep carries on to its end. _Within rounding_ says that the reference lies between the
perplexities found so.`,
  ];
  for (const model of [...new Set(ROWS.map((row) => row.model))]) {
    const entry = Object.values(reference.models).find((candidate) => candidate.model === model);
    const lines = ROWS.filter((row) => row.model === model && rows[key(row)]).map((row) => {
      const measured = rows[key(row)];
      const { perplexity, seconds, bitsPerWeight } = measured;
      const theirs = findReference(reference, row)?.perplexity;
      const cells = [
        row.scheme,
        row.method,
        perplexity.toFixed(3),
        theirs === undefined ? '' : theirs.toFixed(3),
        theirs === undefined ? '' : verdict(measured, theirs, spreadOf(reference, row)),
        control(rows, reference, row),
        bitsPerWeight.toFixed(2),
        `${seconds.toFixed(1)} s`,
      ];
      return `| ${cells.join(' | ')} |`;
    });
    parts.push(`## ${model}: dense ${entry.original.perplexity.toFixed(3)}

| scheme | method | ours | reference | | naive control | bits/weight | time |
|---|---|---|---|---|---|---|---|
${lines.join('\n')}`);
  }
  writeFileSync(target, `${parts.join('\n\n')}\n`);
}
