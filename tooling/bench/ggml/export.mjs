// `pith export --format gguf:…` of a synthetic bf16 checkpoint, straight from safetensors; beside it, in turn, llama-quantize's own work: from
// a GGUF file that someone had to convert before. And plain `fs` that reads the source and writes as many bytes: no program can do less. Where
// the page cache may be emptied, all of it again with the source on the disk.
import { rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { byteFallbackTokenizer } from '../byte-tokenizer.mjs';
import { dropPageCache, measure, median } from '../measure.mjs';
import { readAll, readAndWrite } from '../quantize.mjs';
import { syntheticCheckpoint } from '../synthetic.mjs';
import { quantizePeer } from './peer.mjs';

/** llama.cpp's numbers of mixtures. */
const FILE_TYPES = { q8_0: 7, q4_0: 2, q4_k_m: 15, q6_k: 18 };

/**
 * @param {{ work: string, pith: string, variant: keyof FILE_TYPES, layers?: number, rounds?: number, threads?: number }} options
 */
export async function benchGguf({ work, pith, variant, layers = 22, rounds = 3, threads = 2 }) {
  const model = syntheticCheckpoint(work, layers);
  byteFallbackTokenizer(model.dir);
  const target = join(work, `model-${variant}.gguf`);
  const scratch = join(work, 'scratch.bin');
  const remove = () => {
    for (const file of [target, `${target}.receipt.json`, scratch]) rmSync(file, { force: true });
  };
  const run = async (command, args) => {
    const result = await measure(command, args);
    if (result.status !== 0) throw new Error(`${command} ${args[0]} failed:\n${result.stdout}${result.stderr}`);
    return result;
  };
  const exportTo = (format, output) =>
    run(process.execPath, [
      ...[pith, 'export', model.dir, '--format', `gguf:${format}`, '-o', output],
      ...['--threads', `${threads}`, '--json', '--quiet'],
    ]);

  const peer = quantizePeer(work);
  const dense = join(work, 'model-bf16.gguf');
  if (peer !== null) {
    rmSync(dense, { force: true });
    await exportTo('bf16', dense);
  }
  const canForget = dropPageCache();
  /** The program itself and what it loads stay in the page cache: only headers of the model are read. */
  const forget = async () => {
    dropPageCache();
    await run(process.execPath, [pith, 'plan', model.dir, '--format', `gguf:${variant}`, '--json']);
    await run(process.execPath, [pith, 'doctor', '--json']);
  };
  const ours = [];
  const theirs = [];
  const floor = [];
  const cold = { ours: [], theirs: [], floor: [] };
  let outputBytes = 0;
  for (let round = 0; round < rounds; round++) {
    remove();
    readAll(model.file);
    ours.push(await exportTo(variant, target));
    outputBytes = statSync(target).size;
    remove();
    floor.push(readAndWrite(model.file, scratch, outputBytes));
    if (canForget) {
      await forget();
      cold.ours.push(await exportTo(variant, target));
      remove();
      cold.floor.push(readAndWrite(model.file, scratch, outputBytes, true));
    }
    if (peer === null) continue;
    const fileType = `${FILE_TYPES[variant]}`;
    const quantize = () => run(peer.program, ['model', peer.libraries, dense, scratch, fileType, `${threads}`]);
    readAll(dense);
    theirs.push(await quantize());
    rmSync(scratch);
    if (!canForget) continue;
    await forget();
    cold.theirs.push(await quantize());
    rmSync(scratch);
  }
  remove();
  for (const file of [dense, `${dense}.receipt.json`]) rmSync(file, { force: true });
  const weights = model.bytes / 2;
  const of = (runs, key) => (runs.length === 0 ? null : median(runs.map((result) => result[key])));
  const peak = (runs) => (runs.length === 0 ? null : Math.max(...runs.map(({ peakBytes }) => peakBytes)));
  return {
    name: `gguf ${variant}`,
    threads,
    sourceBytes: model.bytes,
    outputBytes,
    seconds: of(ours, 'seconds'),
    cpuSeconds: of(ours, 'cpuSeconds'),
    weightsPerSecond: weights / of(ours, 'seconds'),
    weightsPerCpuSecond: weights / of(ours, 'cpuSeconds'),
    peakBytes: peak(ours),
    floorSeconds: median(floor),
    coldSeconds: of(cold.ours, 'seconds'),
    coldFloorSeconds: canForget ? median(cold.floor) : null,
    peerColdSeconds: of(cold.theirs, 'seconds'),
    peerSeconds: of(theirs, 'seconds'),
    peerCpuSeconds: of(theirs, 'cpuSeconds'),
    peerPeakBytes: peak(theirs),
    rounds,
  };
}
