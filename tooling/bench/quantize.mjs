// Round to nearest of a synthetic checkpoint against plain file copies, in turn, in one run, the source in the page cache.
//
// Two yardsticks, both single-threaded `fs` with an 8 MiB buffer, both synced to disk at the end as ours is:
//   copy  the source is copied whole, then the output's bytes are written
//   floor the source is read, nothing kept, then the output's bytes are written: no program can do less
import { closeSync, fsyncSync, openSync, readSync, rmSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { dropPageCache, measure, median } from './measure.mjs';
import { syntheticCheckpoint } from './synthetic.mjs';

const BUFFER = Buffer.alloc(8 << 20);

/** Reads a file, and writes it to `into` where that is given. */
export function readAll(file, into) {
  const from = openSync(file, 'r');
  for (;;) {
    const n = readSync(from, BUFFER, 0, BUFFER.length, null);
    if (n === 0) break;
    if (into !== undefined) writeSync(into, BUFFER, 0, n);
  }
  closeSync(from);
}

function writeBytes(file, bytes) {
  const to = openSync(file, 'w');
  for (let left = bytes; left > 0; left -= BUFFER.length) writeSync(to, BUFFER, 0, Math.min(left, BUFFER.length));
  fsyncSync(to);
  closeSync(to);
}

const timed = (work) => {
  const start = performance.now();
  work();
  return (performance.now() - start) / 1000;
};

/** Seconds of copying a file and writing so many bytes more, synced; the source is in the page cache. */
export function copyAndWrite(source, scratch, bytes) {
  readAll(source);
  const seconds = timed(() => {
    const to = openSync(scratch, 'w');
    readAll(source, to);
    fsyncSync(to);
    closeSync(to);
    rmSync(scratch);
    if (bytes > 0) writeBytes(scratch, bytes);
  });
  rmSync(scratch, { force: true });
  return seconds;
}

/**
 * Seconds of reading a file, keeping nothing, and writing so many bytes, synced. The source is in the page cache, or where `cold` nothing is.
 */
export function readAndWrite(source, scratch, bytes, cold = false) {
  if (cold) dropPageCache();
  else readAll(source);
  const seconds = timed(() => {
    readAll(source);
    writeBytes(scratch, bytes);
  });
  rmSync(scratch);
  return seconds;
}

/**
 * @param {{ work: string, pith: string, layers?: number, rounds?: number, scheme?: string, flags?: string[] }} options
 */
export async function benchQuantize({ work, pith, layers = 22, rounds = 3, scheme = 'w4g128', flags = [] }) {
  const model = syntheticCheckpoint(work, layers);
  const output = join(work, 'quantized');
  const scratch = join(work, 'scratch.bin');
  const ours = [];
  const processor = [];
  const copy = [];
  const floor = [];
  let peakBytes = 0;
  let outputBytes = 0;
  for (let round = 0; round < rounds; round++) {
    readAll(model.file);
    rmSync(output, { recursive: true, force: true });
    const args = [
      pith,
      'quantize',
      model.dir,
      '-o',
      output,
      '--method',
      'rtn',
      '--scheme',
      scheme,
      ...flags,
      '--json',
      '--quiet',
    ];
    const run = await measure(process.execPath, args);
    if (run.status !== 0) throw new Error(`pith quantize failed:\n${run.stdout}${run.stderr}`);
    ours.push(run.seconds);
    processor.push(run.cpuSeconds);
    peakBytes = Math.max(peakBytes, run.peakBytes ?? 0, JSON.parse(run.stdout).peakMemoryBytes);
    outputBytes = statSync(join(output, 'model.safetensors')).size;
    rmSync(output, { recursive: true, force: true });
    copy.push(copyAndWrite(model.file, scratch, outputBytes));
    floor.push(readAndWrite(model.file, scratch, outputBytes));
  }
  const ratios = (base) => ours.map((seconds, i) => seconds / base[i]);
  return {
    name: `quantize ${scheme}${flags.length > 0 ? ` ${flags.join(' ')}` : ''}`,
    sourceBytes: model.bytes,
    outputBytes,
    seconds: median(ours),
    cpuSeconds: median(processor),
    copySeconds: median(copy),
    floorSeconds: median(floor),
    ratioToCopy: median(ratios(copy)),
    ratioToFloor: median(ratios(floor)),
    weightsPerSecond: model.linearParameters / median(ours),
    peakBytes,
    rounds,
  };
}
