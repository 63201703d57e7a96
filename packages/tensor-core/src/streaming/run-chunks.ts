// Streams a weight through kernels, a chunk of rows at a time, with a fixed number of chunks in memory. How it is cut
// depends on the weight alone, and results are kept by chunk, so that neither threads nor timing can change them.
import { isPithError, throwIfStopped, type PithError } from '../errors/pith-error.ts';
import type { JobStep, StepResult } from '../node/kernel-job.ts';
import type { FileLocation } from '../weight/byte-source.ts';
import type { KernelHost, KernelRegion } from './kernel-host.ts';

/** Input bytes of a chunk, about. */
export const CHUNK_BYTES = 4 * 2 ** 20;

/** Chunks start at multiples of this many rows: packed zero points of 32 rows fill whole words for any bits. */
export const ROW_ALIGNMENT = 32;

/** Rows that are worked on together. */
export interface Chunk {
  /** Counted from 0. */
  readonly index: number;
  /** Its first row in the weight. */
  readonly firstRow: number;
  /** Rows of it. */
  readonly rows: number;
}

/** Cuts rows into chunks of about `chunkBytes`, which begin at multiples of `ROW_ALIGNMENT`, and of `tileRows` too. */
export function cutIntoChunks(rows: number, rowBytes: number, chunkBytes: number, tileRows = 1): readonly Chunk[] {
  let alignment = tileRows;
  while (alignment % ROW_ALIGNMENT !== 0) alignment += tileRows;
  const wanted = Math.floor(chunkBytes / rowBytes / alignment) * alignment;
  const step = Math.max(alignment, wanted);
  return Array.from({ length: Math.ceil(rows / step) }, (_, index) => {
    const firstRow = index * step;
    return { index, firstRow, rows: Math.min(step, rows - firstRow) };
  });
}

/** What is read of a weight. */
export interface ChunkedWeight {
  /** Where the first row lies in a local file, for threads that read by themselves. */
  readonly file?: FileLocation | undefined;
  /** Little-endian bytes of rows `start` to `end` (exclusive). */
  bytes(start: number, end: number): Promise<Uint8Array>;
}

/** Rows of a weight, `end` exclusive. */
export interface RowSpan {
  /** First row. */
  readonly start: number;
  /** The row after the last. */
  readonly end: number;
}

/** Addresses of named parts of a slot. */
export type PartAddresses<P extends string> = Readonly<Record<P, number>>;

/** One pass over a weight. */
export interface ChunkPass<P extends string> {
  /** First words of an error message. */
  readonly operation: string;
  /** Threads and memory. */
  readonly host: KernelHost;
  /** What is read. */
  readonly weight: ChunkedWeight;
  /** How it is cut. */
  readonly chunks: readonly Chunk[];
  /** Bytes of a source row. */
  readonly rowBytes: number;
  /** Parts of a slot beside the source, and their bytes for the largest chunk. */
  readonly parts: Readonly<Record<P, number>>;
  /** Stops between chunks. */
  readonly signal?: AbortSignal | undefined;
  /** Adds SHA-256 of the source as the first result after reading. */
  readonly hashSource?: boolean;
  /** Steps of a chunk whose source lies at `at.source`. */
  steps(chunk: Chunk, at: PartAddresses<P | 'source'>): readonly JobStep[];
  /** Rows that are read for a chunk, as many as it has, one span behind the other; the chunk's own when left out. */
  spans?(chunk: Chunk): readonly RowSpan[];
  /** Prepares the parts of a slot, once. */
  prepare?(part: (name: P) => Uint8Array): void;
  /** Fills parts of a slot for a chunk, before its steps run. */
  load?(chunk: Chunk, part: (name: P) => Uint8Array): void;
  /** Takes the results of `steps` and, while it lasts, the slot's bytes; `source` as the steps left it. */
  finish(
    chunk: Chunk,
    results: readonly StepResult[],
    part: (name: P | 'source') => Uint8Array,
    sourceHash?: string,
  ): void;
  /** Says what a kernel found wrong. `row` counts from the chunk's first. */
  refuse?(chunk: Chunk, result: number): Promise<PithError>;
}

/** A place in memory for one chunk. */
interface Slot<P extends string> {
  readonly region: KernelRegion;
  readonly offsets: Readonly<Record<P | 'source', number>>;
}

/**
 * Runs a pass. When it fails, it fails with the first chunk that does, after every job that was started has ended.
 */
export async function runChunks<P extends string>(pass: ChunkPass<P>): Promise<void> {
  const { host, chunks } = pass;
  const failures = new Map<number, unknown>();
  const slots: Slot<P>[] = [];
  try {
    // Twice as many as threads: while a thread works on one chunk, the next already waits for it.
    const count = Math.min(chunks.length, 2 * Math.max(1, host.threads));
    for (let i = 0; i < count; i += 1) slots.push(makeSlot(pass));
    let next = 0;
    const work = async (slot: Slot<P>): Promise<void> => {
      while (next < chunks.length && failures.size === 0) {
        const chunk = chunks[next]!;
        next += 1;
        try {
          await runChunk(pass, chunk, slot);
        } catch (error) {
          failures.set(chunk.index, error);
        }
      }
    };
    await Promise.all(slots.map(work));
  } finally {
    for (const { region } of slots) host.free(region);
  }
  if (failures.size > 0) throw failures.get(Math.min(...failures.keys()));
}

function makeSlot<P extends string>({ host, chunks, rowBytes, parts, prepare }: ChunkPass<P>): Slot<P> {
  const rows = chunks[0]?.rows ?? 0;
  const offsets = {} as Record<P | 'source', number>;
  let end = 0;
  for (const [name, bytes] of Object.entries({ ...parts, source: rows * rowBytes }) as [P | 'source', number][]) {
    offsets[name] = end;
    end += Math.ceil(bytes / 64) * 64;
  }
  const region = host.allocate(Math.max(64, end));
  prepare?.((name) => partBytes({ region, offsets }, name, parts[name]));
  return { region, offsets };
}

function partBytes<P extends string>({ region, offsets }: Slot<P>, name: P | 'source', length: number): Uint8Array {
  return region.u8.subarray(offsets[name], offsets[name] + length);
}

async function runChunk<P extends string>(pass: ChunkPass<P>, chunk: Chunk, slot: Slot<P>): Promise<void> {
  const { host, weight, rowBytes, operation, signal } = pass;
  throwIfStopped(signal, operation);
  const at = Object.fromEntries(
    Object.entries<number>(slot.offsets).map(([name, offset]) => [name, slot.region.at + offset]),
  ) as PartAddresses<P | 'source'>;
  const length = chunk.rows * rowBytes;
  const steps: JobStep[] = [];
  let done = 0;
  for (const { start, end } of pass.spans?.(chunk) ?? [{ start: chunk.firstRow, end: chunk.firstRow + chunk.rows }]) {
    const bytes = (end - start) * rowBytes;
    if (weight.file && !host.callsOnly) {
      const offset = weight.file.offset + start * rowBytes;
      steps.push({ op: 'read', path: weight.file.path, offset, length: bytes, at: at.source + done });
    } else {
      partBytes(slot, 'source', length).set(await weight.bytes(start, end), done);
    }
    done += bytes;
  }
  pass.load?.(chunk, (name) => partBytes(slot, name, pass.parts[name]));
  if (pass.hashSource) steps.push({ op: 'sha256', at: at.source, length });
  const before = steps.length;
  steps.push(...pass.steps(chunk, at));
  let results: readonly StepResult[];
  try {
    results = await host.run(steps, { bytes: length, ...(signal ? { signal } : {}) });
  } catch (error) {
    const refused = isPithError(error) && error.code === 'KERNEL_RESULT' ? Number(error.details['result']) : undefined;
    if (refused === undefined || !pass.refuse) throw error;
    throw await pass.refuse(chunk, refused);
  }
  const sourceHash = pass.hashSource ? String(results[before - 1]) : undefined;
  const part = (name: P | 'source') => partBytes(slot, name, name === 'source' ? length : pass.parts[name]);
  pass.finish(chunk, results.slice(before), part, sourceHash);
}
