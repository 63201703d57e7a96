// Prunes every linear of a checkpoint and writes it again, column norms given: what Wanda does once calibration is over.
// `node prune-run.mjs <checkpoint> <output> --method wanda|magnitude [--pattern 2:4] [--sparsity 0.5] [--comparison row|layer]`;
// prints one JSON document.
import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { planOutput } from '@pith/checkpoint';
import { openCheckpoint, openOutput } from '@pith/checkpoint/node';
import { describeArchitecture, readModelConfig } from '@pith/model';
import { parsePattern, pruneInto } from '@pith/prune';
import { mapLimited, randomStream } from '@pith/tensor-core';
import { createKernelPool } from '@pith/tensor-core/node';

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    method: { type: 'string', default: 'wanda' },
    pattern: { type: 'string' },
    sparsity: { type: 'string', default: '0.5' },
    comparison: { type: 'string', default: 'row' },
  },
});
const [source, target] = positionals;
const pattern = flags.pattern
  ? parsePattern(flags.pattern)
  : /** @type {const} */ ({ kind: 'unstructured', sparsity: Number(flags.sparsity) });

const COPY_BYTES = 4 << 20;
const start = performance.now();
const checkpoint = await openCheckpoint(source);
const pool = createKernelPool();
const { blocks } = describeArchitecture(readModelConfig(checkpoint.config));
const linears = new Map(blocks.flatMap((block) => block.linears).map((linear) => [linear.name, linear]));
const output = await openOutput(target, planOutput([...checkpoint.tensors.values()]));
let weights = 0;
// Two at a time: while the last chunks of one tensor are made, the next begins.
await mapLimited([...checkpoint.tensors.values()], 2, async (tensor) => {
  const linear = linears.get(tensor.name);
  if (linear === undefined) {
    const to = output.location(tensor.name);
    const buffer = pool.allocate(Math.min(COPY_BYTES, tensor.byteLength));
    for (let done = 0; done < tensor.byteLength; done += COPY_BYTES) {
      const part = { length: Math.min(COPY_BYTES, tensor.byteLength - done), at: buffer.at };
      const from = tensor.source.file;
      await pool.run([
        { op: 'read', path: from.path, offset: from.offset + done, ...part },
        { op: 'write', path: to.path, offset: to.offset + done, ...part },
      ]);
    }
    pool.free(buffer);
    return;
  }
  const stream = randomStream(0, linear.inputGroup);
  const norms = Float32Array.from({ length: linear.inFeatures }, () => stream.uniform());
  const { path, offset } = output.location(tensor.name);
  const result = await pruneInto(
    checkpoint.weight(tensor.name),
    { kind: 'file', path, offset },
    {
      host: pool,
      pattern,
      comparison: flags.comparison,
      ...(flags.method === 'wanda' && { factors: { per: 'column', values: norms } }),
    },
  );
  weights += result.count;
});
await output.writeFile('config.json', checkpoint.configText);
await pool.closeFiles();
await output.finish();
await output.publish();
await pool.dispose();
await checkpoint.close();
process.stdout.write(`${JSON.stringify({ seconds: (performance.now() - start) / 1000, weights })}\n`);
