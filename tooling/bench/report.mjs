// Renders docs/benchmarks.md from the recorded results.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const GB = (bytes) => `${(bytes / 1e9).toFixed(2)} GB`;
const MB = (bytes) => (bytes === null ? 'not measured' : `${(bytes / 1e6).toFixed(0)} MB`);
const M = (rate) => `${(rate / 1e6).toFixed(rate < 1e7 ? 1 : 0)} M`;
const seconds = (s) => `${s.toFixed(2)} s`;

/** How each kind of result is told: [what, value] rows; `rows` where a result has several. */
const SECTIONS = [
  {
    title: 'Round to nearest',
    intro: `A bf16 checkpoint of TinyLlama's shape, read from the page cache, written and synced to disk. *copy*: plain \`fs\` copies the source
and then writes the output's bytes. *floor*: plain \`fs\` reads the source, keeps nothing, and writes the output's bytes. All three run in
turn; ratios are medians over the rounds. Hashing the input, measuring the error and reading the artefact back are part of our time.`,
    match: (r) => r.name.startsWith('quantize'),
    head: [
      'job',
      'source',
      'output',
      'time',
      'copy',
      'ratio to copy',
      'floor',
      'ratio to floor',
      'weights/s',
      'peak memory',
    ],
    row: (r) => [
      `\`${r.name}\``,
      GB(r.sourceBytes),
      GB(r.outputBytes),
      seconds(r.seconds),
      seconds(r.copySeconds),
      r.ratioToCopy.toFixed(2),
      seconds(r.floorSeconds),
      r.ratioToFloor.toFixed(2),
      `${(r.weightsPerSecond / 1e6).toFixed(0)} M`,
      MB(r.peakBytes),
    ],
  },
  {
    title: 'Pruning',
    intro: `The same checkpoint, every linear of the blocks pruned, column norms given, written and synced to disk as large as it was. *copy*: plain
\`fs\` copies the source. *floor*: plain \`fs\` reads the source, keeps nothing, and writes as many bytes.`,
    match: (r) => r.name.startsWith('prune'),
    head: ['job', 'source', 'time', 'copy', 'ratio to copy', 'floor', 'ratio to floor', 'weights/s', 'peak memory'],
    row: (r) => [
      r.name,
      GB(r.sourceBytes),
      seconds(r.seconds),
      seconds(r.copySeconds),
      r.ratioToCopy.toFixed(2),
      seconds(r.floorSeconds),
      r.ratioToFloor.toFixed(2),
      `${(r.weightsPerSecond / 1e6).toFixed(0)} M`,
      MB(r.peakBytes),
    ],
  },
  {
    title: 'Kernels',
    intro:
      'Weights a second of the quantization kernels alone, bytes in memory, error sums included; the best of short rounds.',
    match: (r) => r.name.startsWith('kernel'),
    head: ['kernel', 'threads', 'weights/s', 'input'],
    row: (r) => [
      r.name,
      `${r.threads}`,
      `${(r.weightsPerSecond / 1e6).toFixed(0)} M`,
      `${(r.bytesPerSecond / 1e9).toFixed(2)} GB/s`,
    ],
  },
  {
    title: 'GGUF',
    intro: `A bf16 checkpoint of TinyLlama's shape, read from the page cache, to one GGUF file, straight from safetensors, synced and hashed, with its error
measured. *floor*: plain \`fs\` reads the source, keeps nothing, and writes the output's bytes. *llama-quantize*: the library of llama.cpp 0.5.0 that
node-llama-cpp ships, on as many threads, from a bf16 GGUF file that exists already. All in turn; medians over the rounds. *processor*: time of all
threads together. *cold*: the same with an empty page cache, so that the source comes from the disk; a job that is bound by the disk takes as long as
the floor there.`,
    match: (r) => r.name.startsWith('gguf'),
    head: [
      'type',
      'threads',
      'output',
      'time',
      'processor',
      'weights/s',
      'weights/s a core',
      'peak memory',
      'floor',
      'llama-quantize',
      'its processor',
      'its peak memory',
      'processor, its to ours',
      'cold',
      'cold floor',
      'cold llama-quantize',
    ],
    row: (r) => [
      r.name.slice(5),
      `${r.threads}`,
      GB(r.outputBytes),
      seconds(r.seconds),
      seconds(r.cpuSeconds),
      M(r.weightsPerSecond),
      M(r.weightsPerCpuSecond),
      MB(r.peakBytes),
      seconds(r.floorSeconds),
      r.peerSeconds === null ? 'not run' : seconds(r.peerSeconds),
      r.peerCpuSeconds === null ? 'not run' : seconds(r.peerCpuSeconds),
      MB(r.peerPeakBytes),
      r.peerCpuSeconds === null ? '' : (r.peerCpuSeconds / r.cpuSeconds).toFixed(2),
      ...[r.coldSeconds, r.coldFloorSeconds, r.peerColdSeconds].map((s) => (s == null ? 'not run' : seconds(s))),
    ],
  },
  {
    title: "Quantizers of ggml's types",
    intro: `Weights a second of one thread, by processor time, 256 rows of 2,048 values; the best of a few rounds. Ours reads bf16, looks for values that are not
finite, and measures the error of what it wrote; *ggml* (0.25.3, as node-llama-cpp ships it) is handed f32 and only writes. The bytes are the same. *restored*: from blocks to f32.`,
    match: (r) => r.name === 'ggml types',
    head: ['type', 'weights/s', 'ggml', 'ratio', 'with importance', 'ggml', 'ratio', 'restored'],
    rows: (r) =>
      r.types.map((t) => [
        t.type,
        t.weightsPerSecond === null ? 'needs importance' : M(t.weightsPerSecond),
        t.weightsPerSecond === null ? '' : t.peerWeightsPerSecond === null ? 'not run' : M(t.peerWeightsPerSecond),
        t.peerWeightsPerSecond === null ? '' : (t.weightsPerSecond / t.peerWeightsPerSecond).toFixed(2),
        t.importanceWeightsPerSecond === null ? 'does not matter' : M(t.importanceWeightsPerSecond),
        t.peerImportanceWeightsPerSecond === null ? '' : M(t.peerImportanceWeightsPerSecond),
        t.peerImportanceWeightsPerSecond === null
          ? ''
          : (t.importanceWeightsPerSecond / t.peerImportanceWeightsPerSecond).toFixed(2),
        M(t.restoredPerSecond),
      ]),
  },
  {
    title: 'Evaluation',
    intro: `The same checkpoint, layer by layer. The yardstick is a 2048-square f32 product of onnxruntime just before and just after.`,
    match: (r) => r.name.startsWith('eval'),
    head: ['job', 'tokens', 'tokens/s', 'products', 'yardstick', 'share', 'peak memory'],
    row: (r) => [
      r.name,
      `${r.tokens}`,
      r.tokensPerSecond.toFixed(1),
      `${(r.flops / 1e9).toFixed(0)} GFLOP/s`,
      `${(r.productFlops / 1e9).toFixed(0)} GFLOP/s`,
      `${(r.shareOfProductRate * 100).toFixed(0)}%`,
      MB(r.peakBytes),
    ],
  },
  {
    title: 'Singular values',
    intro:
      'A 4096 x 4096 f32 matrix with singular values k^-0.5, whose best error is known. *error*: Frobenius norm of what the factors leave, as a multiple of the best error at that rank. *all*: the full decomposition.',
    match: (r) => r.name.startsWith('svd'),
    head: ['rank', 'vectors', 'iterations', 'threads', 'time', 'error', 'all', 'peak memory'],
    row: (r) => [
      `${r.rank}`,
      `${r.rank + r.oversampling}`,
      `${r.powerIterations}`,
      `${r.threads}`,
      seconds(r.seconds),
      r.errorToBest.toFixed(4),
      r.fullSeconds === null ? 'not run' : seconds(r.fullSeconds),
      MB(r.peakBytes),
    ],
  },
  {
    title: 'Gram matrix',
    intro:
      '16,384 inputs of 2,048 values, f32, as calibration sums them: products by the upper triangle, sums in f64. *processor*: time of all threads together.',
    match: (r) => r.name === 'gram',
    head: ['inputs', 'columns', 'threads', 'time', 'processor', 'peak memory'],
    row: (r) => [
      `${r.tokens}`,
      `${r.columns}`,
      `${r.threads}`,
      seconds(r.seconds),
      seconds(r.cpuSeconds),
      MB(r.peakBytes),
    ],
  },
  {
    title: 'GPTQ',
    intro:
      'One 5632 x 2048 layer, w4g128, from its Gram matrix: factorization, scales, sweep. *processor*: time of all threads together.',
    match: (r) => r.name.startsWith('gptq'),
    head: ['range', 'act-order', 'threads', 'time', 'processor', 'peak memory'],
    row: (r) => [r.range, r.actOrder, `${r.threads}`, seconds(r.seconds), seconds(r.cpuSeconds), MB(r.peakBytes)],
  },
  {
    title: 'GPTQ of a whole model',
    intro:
      'The synthetic checkpoint by the command line, calibration and writing included. *phases*: processor time of embedding, of the forward pass with Gram matrices, of GPTQ, of the forward pass through the rounded block, of storing.',
    match: (r) => r.name.startsWith('model: gptq'),
    head: ['job', 'layers', 'time', 'processor', 'phases', 'peak memory'],
    row: (r) => [
      r.name.slice(7),
      `${r.layers}`,
      seconds(r.seconds),
      seconds(r.cpuSeconds),
      Object.entries(r.phases ?? {})
        .map(([phase, { cpuSeconds }]) => `${phase} ${seconds(cpuSeconds)}`)
        .join(', '),
      MB(r.peakBytes),
    ],
  },
  {
    title: 'Training step',
    intro:
      'Llama of hidden 256, 6 layers, 8/4 heads, feed-forward 768, vocabulary 4,096; batch 4 x 256; forward, backward, AdamW in one program. With a teacher: twice as deep, soft targets at temperature 2. *a processor second*: tokens by the time of all threads together. *best four*: the fastest of three groups of four steps; *tokens/s* is the median step.',
    match: (r) => r.name.startsWith('training'),
    head: [
      'job',
      'parameters',
      'threads',
      'tokens/s',
      'best four',
      'a processor second',
      'time outside products',
      'peak memory',
    ],
    row: (r) => [
      r.name,
      `${(r.parameters / 1e6).toFixed(2)} M`,
      r.threads === undefined ? '' : `${r.threads}`,
      r.tokensPerSecond.toFixed(0),
      r.bestGroupTokensPerSecond?.toFixed(0) ?? 'not measured',
      r.tokensPerCpuSecond === undefined ? 'not measured' : r.tokensPerCpuSecond.toFixed(0),
      `${(r.shareOutsideProducts * 100).toFixed(0)}%`,
      MB(r.peakBytes),
    ],
  },
  {
    title: 'Start-up',
    intro: 'Median of whole processes.',
    match: (r) => r.name.startsWith('pith'),
    head: ['command', 'time', 'node alone'],
    row: (r) => [
      `\`${r.name}\``,
      `${(r.seconds * 1000).toFixed(0)} ms`,
      `${(r.nodeAloneSeconds * 1000).toFixed(0)} ms`,
    ],
  },
];

/**
 * @param {string} results folder of recorded results
 * @param {string} target the Markdown file to write
 */
export function render(results, target) {
  const records = readdirSync(results)
    .filter((file) => file.endsWith('.json'))
    .sort()
    .map((file) => JSON.parse(readFileSync(join(results, file), 'utf8')));
  const table = (head, rows) =>
    [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
  const parts = [
    `---
title: Benchmarks
---

# Benchmarks

Made by \`npm run bench\`, one benchmark at a time, from \`tooling/bench/results\`. Machines are shared and noisy: compare within a row, quote
ratios, and measure again before quoting anything as a figure of your own machine.`,
  ];
  for (const { title, intro, match, head, row, rows = (record) => [row(record)] } of SECTIONS) {
    const found = records.filter(match);
    if (found.length > 0) parts.push(`## ${title}\n\n${intro}\n\n${table(head, found.flatMap(rows))}`);
  }
  const machines = new Map();
  for (const { name, machine: m, commit, date } of records) {
    const line = `${m.cpu}, ${m.cores} cores, ${m.memoryGB} GB, ${m.platform}, Node ${m.node}`;
    machines.set(line, [
      ...(machines.get(line) ?? []),
      `${name} (${date}, commit ${commit}, load ${m.load.toFixed(1)})`,
    ]);
  }
  parts.push(
    `## Where it was measured\n\n${[...machines].map(([line, names]) => `- ${line}: ${names.join('; ')}`).join('\n')}`,
  );
  writeFileSync(target, `${parts.join('\n\n')}\n`);
}
