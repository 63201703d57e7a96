// Evaluation of the synthetic checkpoint against the rate of one 2048-square f32 product in onnxruntime, in one process run each.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { measure, median } from './measure.mjs';
import { syntheticCheckpoint, tinyLlama } from './synthetic.mjs';
import { byteTokenizer } from './byte-tokenizer.mjs';

const SIZE = 2048;

/** Best rate of a f32 product of two square matrices, both graph inputs, in FLOP/s. */
export async function productRate(seconds = 6) {
  const { compile } = await import('@pith/tensor-core');
  const { cpuDevice } = await import('@pith/tensor-core/node');
  const tf = await import('@tensorflow/tfjs-core');
  const device = await cpuDevice();
  const spec = { shape: [SIZE, SIZE], dtype: 'float32' };
  const program = await compile(({ a, b }) => ({ c: tf.matMul(a, b) }), { a: spec, b: spec }, device);
  const square = (seed) => ({
    dtype: 'f32',
    shape: [SIZE, SIZE],
    data: Float32Array.from({ length: SIZE * SIZE }, (_, i) => ((i * seed) % 1013) / 1013 - 0.5),
  });
  const inputs = { a: square(7), b: square(13) };
  const times = [];
  for (const end = performance.now() + seconds * 1000; performance.now() < end || times.length < 3;) {
    const start = performance.now();
    await program.run(inputs);
    times.push((performance.now() - start) / 1000);
  }
  await program.dispose();
  await device.dispose();
  return (2 * SIZE ** 3) / median(times);
}

/**
 * @param {{ work: string, pith: string, layers?: number, windows?: number, context?: number }} options
 */
export async function benchEvaluate({ work, pith, layers = 22, windows = 8, context = 512 }) {
  const model = syntheticCheckpoint(work, layers);
  byteTokenizer(model.dir);
  const text = join(work, 'letters.txt');
  let state = 1;
  const letters = Array.from({ length: windows * (context - 1) + 10 }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return String.fromCharCode(97 + ((state >>> 8) % 26));
  });
  writeFileSync(text, letters.join(''));
  const before = await productRate();
  const run = await measure(process.execPath, [
    pith,
    'eval',
    model.dir,
    '--data',
    text,
    '--context',
    `${context}`,
    '--json',
    '--quiet',
  ]);
  if (run.status !== 0) throw new Error(`pith eval failed:\n${run.stdout}${run.stderr}`);
  const after = await productRate();
  const { tokensPerSecond, tokens } = JSON.parse(run.stdout);
  const config = tinyLlama(layers);
  // Products only: every linear once a token, the head, and the two attention products over the causal half counted whole,
  // because that is what is computed.
  const linear = model.linearParameters + config.vocab_size * config.hidden_size;
  const attention = 2 * config.num_hidden_layers * config.hidden_size * context;
  const flopPerToken = 2 * (linear + attention);
  const rate = flopPerToken * tokensPerSecond;
  const productFlops = (before + after) / 2;
  return {
    name: `eval, context ${context}`,
    sourceBytes: model.bytes,
    tokens,
    tokensPerSecond,
    seconds: run.seconds,
    flops: rate,
    productFlops,
    shareOfProductRate: rate / productFlops,
    peakBytes: run.peakBytes,
  };
}
