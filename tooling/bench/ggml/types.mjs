// The quantizers of ggml's types on one thread, by processor time: ours reads bf16, refuses what is not finite, and measures the error of
// what it wrote; ggml's is handed f32 and does neither. Both write the same bytes.
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { quantizePeer } from './peer.mjs';

const ROWS = 256;
const COLUMNS = 2048;
/** Rounds for at least so long, so that the engine has compiled the loops for good; longer where a round takes long. */
const SECONDS = 0.6;
const GRID_SECONDS = 2;

/** @param {{ work: string }} options */
export async function benchGgmlTypes({ work }) {
  const { compileKernels, createKernelMemory, fromF32, instantiateKernels, randomStream, STATIC_BYTES, toF32 } =
    await import('@pith/tensor-core');
  const { GGML_TYPES } = await import('@pith/checkpoint');
  const { GGML_WRITABLE_TYPES, ggmlGridBytes, needsImportance } = await import('@pith/quant');
  const random = randomStream(1, 'bench');
  const values = fromF32(
    'bf16',
    Float32Array.from({ length: ROWS * COLUMNS }, (_, i) => 0.02 * random.normal() * (i % 4096 === 0 ? 10 : 1)),
  );
  const importance = Float32Array.from({ length: COLUMNS }, (_, i) => (1 + ((i * 7919) % 97)) / 16);

  const room = [
    values.length,
    importance.byteLength,
    ROWS * COLUMNS * 4,
    ROWS * 32,
    COLUMNS * 4 + 65536,
    ROWS * COLUMNS * 4,
    4 * 2 ** 20,
  ];
  const memory = createKernelMemory(false, STATIC_BYTES + room.reduce((sum, bytes) => sum + bytes, 0) + 2 ** 20);
  const kernels = instantiateKernels(compileKernels(false), memory);
  memory.grow(Math.ceil((room.reduce((sum, bytes) => sum + bytes, 0) + 65536) / 65536));
  const [source, weights, target, errors, scratch, restored, table] = room.map((_, i) =>
    room.slice(0, i).reduce((at, bytes) => at + Math.ceil(bytes / 64) * 64, STATIC_BYTES),
  );
  const bytes = new Uint8Array(memory.buffer);
  bytes.set(values, source);
  bytes.set(new Uint8Array(importance.buffer), weights);

  const peer = peerRates(work, toF32('bf16', values));
  const bf16 = 2;
  const types = GGML_WRITABLE_TYPES.filter((type) => type !== 'f32').map((type) => {
    const { id } = GGML_TYPES[type];
    const gridBytes = ggmlGridBytes(type);
    if (gridBytes) bytes.set(gridBytes, table);
    const grid = gridBytes ? table : 0;
    const rate = (weighted) => {
      let best = Infinity;
      const seconds = grid ? GRID_SECONDS : SECONDS;
      for (const end = performance.now() + seconds * 1000; performance.now() < end;) {
        const before = process.cpuUsage();
        const importanceAt = weighted ? weights : 0;
        kernels.ggmlQuantizeRows(id, source, bf16, ROWS, COLUMNS, 0, importanceAt, target, errors, scratch, grid);
        const { user, system } = process.cpuUsage(before);
        best = Math.min(best, (user + system) / 1e6);
      }
      return (ROWS * COLUMNS) / best;
    };
    const { blockSize } = GGML_TYPES[type];
    const restore = () => {
      let best = Infinity;
      for (const end = performance.now() + SECONDS * 1000; performance.now() < end;) {
        const before = process.cpuUsage();
        kernels.ggmlRestore(id, target, restored, (ROWS * COLUMNS) / blockSize);
        const { user, system } = process.cpuUsage(before);
        best = Math.min(best, (user + system) / 1e6);
      }
      return (ROWS * COLUMNS) / best;
    };
    const looks = !['f16', 'bf16', 'q8_0', 'mxfp4', 'tq1_0', 'tq2_0'].includes(type);
    return {
      type,
      weightsPerSecond: needsImportance(type) ? null : rate(false),
      peerWeightsPerSecond: peer?.get(`${id} 0`) ?? null,
      restoredPerSecond: restore(),
      importanceWeightsPerSecond: looks ? rate(true) : null,
      peerImportanceWeightsPerSecond: looks ? (peer?.get(`${id} 1`) ?? null) : null,
    };
  });
  return { name: 'ggml types', types };
}

/** Weights per second of ggml's own quantizers by `type importance`. */
function peerRates(work, values) {
  const peer = quantizePeer(work);
  if (peer === null) return null;
  const file = join(work, 'peer-values.f32');
  writeFileSync(file, new Uint8Array(values.buffer));
  const lines = execFileSync(peer.program, ['types', peer.libraries, file, `${ROWS}`, `${COLUMNS}`], {
    encoding: 'utf8',
  });
  return new Map(
    lines
      .trim()
      .split('\n')
      .map((line) => line.split(' '))
      .map(([type, weighted, rate]) => [`${type} ${weighted}`, Number(rate)]),
  );
}
