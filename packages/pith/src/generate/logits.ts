// Raw logits as a safetensors file, to compare runtimes.
import { link, open, rename, rm, stat } from 'node:fs/promises';
import { planOutput } from '@pith/checkpoint';
import { outputError } from '@pith/checkpoint/node';
import { logits as logitsOf } from '@pith/model';
import { openModel } from '@pith/model/node';
import { isPithError, PithError, type RunOptions } from '@pith/tensor-core';
import { cpuDevice } from '@pith/tensor-core/node';
import { requireOutputName } from '../run/output-name.ts';
import { localModel } from '../source/locate-model.ts';

/** What {@link logits} is asked for. */
export interface LogitsOptions extends RunOptions {
  /** Token ids as they are: no BOS is added. */
  readonly ids: readonly number[];
  /** Segment (token type) of each token, of models that have such; the first for all when left out. */
  readonly segments?: readonly number[];
  /** File to write. */
  readonly output: string;
  /** Replaces an existing file; false when left out. */
  readonly overwrite?: boolean;
  /** Threads; one for each processor when left out. */
  readonly threads?: number;
}

/** What {@link logits} has written. */
export interface LogitsResult {
  /** The file, as it was named. */
  readonly output: string;
  /** [1, tokens, vocabulary]. */
  readonly shape: readonly number[];
  /** Dtype of the logits. */
  readonly dtype: 'f32';
  /** Wall time, loading included. */
  readonly seconds: number;
}

/**
 * Writes the logits of the next token at every position (of a masked language model those of the token itself) as tensor `logits`, f32 [1, tokens, vocabulary].
 *
 * @param model directory of a checkpoint, dense or quantized.
 * @throws PithError `TOKEN_OUT_OF_RANGE`, `EVALUATION_OPTIONS` for segments that do not fit, `OUTPUT_NAME_EMPTY`, `OUTPUT_EXISTS`, and those of opening a checkpoint.
 */
export async function logits(model: string, options: LogitsOptions): Promise<LogitsResult> {
  const { ids, segments, output, overwrite = false, threads, signal, progress } = options;
  const begun = performance.now();
  await refuseExisting(output, overwrite);
  const opened = await openModel(await localModel(model, options));
  const device = cpuDevice(threads === undefined ? {} : { threads });
  try {
    const { shape, data } = await logitsOf(opened, ids, {
      device,
      ...(segments && { segments }),
      ...(signal && { signal }),
      ...(progress && { progress }),
    });
    await writeFloats(output, 'logits', shape, data, overwrite);
    return { output, shape, dtype: 'f32', seconds: (performance.now() - begun) / 1000 };
  } finally {
    await device.dispose();
    await opened.close();
  }
}

/** A device or a directory is never replaced, nor anything without being asked; found out before there is work to lose. */
async function refuseExisting(output: string, overwrite: boolean): Promise<void> {
  requireOutputName('write logits', output);
  const found = await stat(output).catch(() => undefined);
  if (found === undefined || (overwrite && found.isFile())) return;
  if (found.isFile()) throw outputExists(output);
  throw new PithError(
    'OUTPUT_EXISTS',
    `write logits: the output must be a file, ${output} is something else; choose another name`,
    { details: { path: output } },
  );
}

function outputExists(path: string, cause?: unknown): PithError {
  return new PithError(
    'OUTPUT_EXISTS',
    `write logits: ${path} must not exist yet, it does; choose another name, or replace it with --overwrite`,
    { details: { path }, cause },
  );
}

/** One f32 tensor as a safetensors file, complete or not there at all. */
async function writeFloats(
  path: string,
  name: string,
  shape: readonly number[],
  data: Float32Array,
  overwrite: boolean,
): Promise<void> {
  const [file] = planOutput([{ name, dtype: 'f32', shape }]).files;
  const partial = `${path}.partial-${process.pid}`;
  try {
    const handle = await open(partial, 'wx');
    try {
      await handle.writeFile(file!.head);
      await handle.writeFile(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
      await handle.sync();
    } finally {
      await handle.close();
    }
    if (overwrite) await rename(partial, path);
    // Unlike a rename, a link never replaces what is there.
    else await link(partial, path);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') throw outputExists(path, cause);
    throw isPithError(cause) ? cause : outputError(cause, 'write logits', path);
  } finally {
    await rm(partial, { force: true }).catch(() => undefined);
  }
}
