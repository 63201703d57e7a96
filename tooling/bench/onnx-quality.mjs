// Variants of an ONNX export in ONNX Runtime: sizes, perplexity under the protocol of docs/formats/onnx.md, and processor time of a
// generated token beside `pith generate`. One thread everywhere. Prints the rows of that guide's tables.
//
//   node tooling/bench/onnx-quality.mjs <model> <text> [--calibration text] [--windows n] [--variants f32,q4]
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { exportModel } from 'pith';
import { generate } from '@pith/model';
import { openModel } from '@pith/model/node';
import { cpuDevice } from '@pith/tensor-core/node';
import { runtimeUrl } from '@pith-tooling/vitest/runtimes';

const ALL = ['f32', 'f16', 'q8', 'q4', 'q4-asym', 'q4f16', 'int8', 'int8-token', 'int8-static', 'int8-qdq'];
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    calibration: { type: 'string' },
    windows: { type: 'string' },
    variants: { type: 'string', default: ALL.join() },
    tokens: { type: 'string', default: '128' },
  },
});
const [source, text] = positionals;
const CONTEXT = 256;

const ort = (await import(runtimeUrl('onnxruntime-node'))).default;
const model = await openModel(source);
const { config, tokenizer } = model;
const ids = tokenizer.encode(readFileSync(text, 'utf8'));
const pieces = Math.floor(ids.length / (CONTEXT - 1));
const windows = Math.min(pieces, Number(values.windows ?? pieces));
const bos = config.bosTokenId;

const int64 = (list, dims = [1, list.length]) => new ort.Tensor('int64', BigInt64Array.from(list, BigInt), dims);

function emptyCache(session) {
  const feeds = {};
  for (const { name, type } of session.inputMetadata.filter((input) => input.name.startsWith('past_'))) {
    const data = type === 'float16' ? new Uint16Array(0) : new Float32Array(0);
    feeds[name] = new ort.Tensor(type, data, [1, config.keyValueHeads, 0, config.headDim]);
  }
  return feeds;
}

async function perplexity(session) {
  let sum = 0;
  const vocabulary = config.vocabularySize;
  for (let window = 0; window < windows; window++) {
    const piece = [...ids.subarray(window * (CONTEXT - 1), (window + 1) * (CONTEXT - 1))];
    const input = [bos, ...piece];
    const { logits } = await session.run({
      input_ids: int64(input),
      attention_mask: int64(input.map(() => 1)),
      position_ids: int64(input.map((_, i) => i)),
      ...emptyCache(session),
    });
    for (const [at, id] of piece.entries()) {
      const row = logits.data.subarray(at * vocabulary, (at + 1) * vocabulary);
      let most = -Infinity;
      for (const value of row) most = Math.max(most, value);
      let total = 0;
      for (const value of row) total += Math.exp(value - most);
      sum += most + Math.log(total) - row[id];
    }
  }
  return Math.exp(sum / (windows * (CONTEXT - 1)));
}

/** Greedy tokens and processor seconds of each, after the prompt. */
async function generateWith(session, count) {
  const out = [bos];
  let feeds = emptyCache(session);
  let begun = process.cpuUsage();
  for (let step = 0; step < count + 8; step++) {
    if (step === 8) begun = process.cpuUsage();
    const at = out.length - 1;
    const result = await session.run({
      input_ids: int64([out[at]]),
      attention_mask: int64(out.map(() => 1)),
      position_ids: int64([at]),
      ...feeds,
    });
    const { data } = result.logits;
    let best = 0;
    for (let i = 1; i < data.length; i++) if (data[i] > data[best]) best = i;
    out.push(best);
    feeds = {};
    for (const [name, value] of Object.entries(result)) {
      if (name.startsWith('present.')) feeds[name.replace('present.', 'past_key_values.')] = value;
    }
  }
  const { user, system } = process.cpuUsage(begun);
  return { out, seconds: (user + system) / 1e6 / count };
}

/** Processor seconds of a token of Pith's own generation: of a long text less a short one. */
async function ownSeconds(count) {
  const device = cpuDevice({ threads: 1 });
  const timed = async (maxTokens) => {
    const begun = process.cpuUsage();
    await generate(model, { device, ids: [bos], maxTokens, stopTokenIds: [] });
    const { user, system } = process.cpuUsage(begun);
    return (user + system) / 1e6;
  };
  const short = await timed(8);
  const seconds = ((await timed(8 + count)) - short) / count;
  await device.dispose();
  return seconds;
}

const work = mkdtempSync(join(tmpdir(), 'pith-onnx-quality-'));
console.log(
  `${windows} windows of ${CONTEXT} positions; columns: bytes, perplexity, generated tokens for a second of one processor`,
);
for (const variant of values.variants.split(',')) {
  const output = join(work, variant);
  const calibration = { text: values.calibration ?? text, samples: 64, context: CONTEXT };
  await exportModel(source, { format: `onnx:${variant}`, output, ...(variant === 'int8-static' && { calibration }) });
  const folder = join(output, 'onnx');
  const files = readdirSync(folder);
  const bytes = files.reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
  const session = await ort.InferenceSession.create(
    join(
      folder,
      files.find((name) => name.endsWith('.onnx')),
    ),
    {
      intraOpNumThreads: 1,
      interOpNumThreads: 1,
      logSeverityLevel: 3,
    },
  );
  const { seconds } = await generateWith(session, Number(values.tokens));
  const cells = [`\`${variant}\``, `${(bytes / 1e6).toFixed(2)} MB`, (await perplexity(session)).toFixed(4)];
  console.log(`| ${[...cells, (1 / seconds).toFixed(0)].join(' | ')} |`);
  await session.release();
}
console.log(`| Pith itself, f32 | | | ${(1 / (await ownSeconds(Number(values.tokens)))).toFixed(0)} |`);
rmSync(work, { recursive: true });
await model.close();
