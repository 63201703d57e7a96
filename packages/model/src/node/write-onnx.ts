// Writes a planned ONNX model to a directory: files of tensors first, in order and a few megabytes at a time, the model last.
import { open, writeFile } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { outputError } from '@pith/checkpoint/node';
import { PithError, throwIfStopped } from '@pith/tensor-core';
import type { ModelProperties, OnnxModelBuilder, RunOptions } from '@pith/tensor-core';
import type { StoredGroup } from '../onnx/store-matrix.ts';
import type { TensorPlaces } from '../onnx/place-tensors.ts';

/** A model and where its tensors go. */
export interface OnnxOutput {
  /** Name of the model's file: `model_q4.onnx`. */
  readonly file: string;
  /** The nodes. */
  readonly builder: OnnxModelBuilder;
  /** The tensors, in the order in which they were placed. */
  readonly groups: readonly StoredGroup[];
  /** Where they lie. */
  readonly places: TensorPlaces;
  /** Written into the model as metadata. */
  readonly properties?: ModelProperties;
}

/**
 * Writes the files of a model into an existing directory.
 *
 * @throws PithError `STOPPED`, `OUTPUT_DISK_FULL`, `OUTPUT_NOT_WRITABLE`, `OUTPUT_NO_DIRECTORY`, `ONNX_TENSOR_BYTES` where a tensor is made with other bytes than its shape has, and those of
 * reading weights.
 */
export async function writeOnnx(directory: string, output: OnnxOutput, run: RunOptions = {}): Promise<void> {
  try {
    await write(directory, output, run);
  } catch (error) {
    if (error instanceof Error && 'syscall' in error) throw outputError(error, 'export', join(directory, output.file));
    throw error;
  }
}

async function write(
  directory: string,
  { file, builder, groups, places, properties = {} }: OnnxOutput,
  { signal, progress }: RunOptions,
): Promise<void> {
  const inline = new Map<string, Uint8Array>();
  const handles = new Map<string, FileHandle>();
  const handleOf = async (name: string): Promise<FileHandle> => {
    const known = handles.get(name);
    if (known) return known;
    const handle = await open(join(directory, name), 'w');
    handles.set(name, handle);
    return handle;
  };
  try {
    for (const [done, group] of groups.entries()) {
      progress?.({ phase: 'write', item: group.source, done, total: groups.length, unit: 'tensor' });
      const written = new Map(group.tensors.map(({ name }) => [name, 0]));
      for await (const { name, offset, bytes } of group.chunks()) {
        throwIfStopped(signal, 'export');
        const place = places.places.get(name)!;
        if (offset + bytes.length > place.byteLength) throw wrongBytes(name, place.byteLength, offset + bytes.length);
        written.set(name, written.get(name)! + bytes.length);
        if (places.isInline) {
          const whole = inline.get(name) ?? new Uint8Array(place.byteLength);
          whole.set(bytes, offset);
          inline.set(name, whole);
        } else {
          await writeAt(await handleOf(place.file), bytes, place.offset + offset);
        }
      }
      for (const [name, count] of written) {
        const { byteLength } = places.places.get(name)!;
        if (count !== byteLength) throw wrongBytes(name, byteLength, count);
      }
    }
    for (const { name, byteLength } of places.files) await (await handleOf(name)).truncate(byteLength);
  } finally {
    await Promise.all([...handles.values()].map((handle) => handle.close()));
  }
  const model = builder.toBytes((name) => inline.get(name) ?? places.places.get(name)!, properties);
  await writeFile(join(directory, file), model);
}

async function writeAt(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, position + done);
    done += bytesWritten;
  }
}

function wrongBytes(tensor: string, expected: number, got: number): PithError {
  return new PithError('ONNX_TENSOR_BYTES', `export ${tensor}: its shape has ${expected} bytes, got ${got}`, {
    kind: 'internal',
    details: { tensor, expected, got },
  });
}
