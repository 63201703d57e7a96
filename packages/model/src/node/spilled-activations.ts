// Activations on disk: one file without a name, so that nothing is left behind when the process is killed. Reading the
// next array and writing the last one go on while a program runs.
import { mkdir, open, rm, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { randomUUID } from 'node:crypto';
import { PithError } from '@pith/tensor-core';
import { SpareArrays, type ActivationStore } from '../calibrate/activations.ts';

/** Where {@link spilledActivations} keeps its file. */
export interface SpilledActivationsOptions {
  /** Directory of the file; it is made where there is none. */
  readonly directory: string;
}

/**
 * Activations in a file of `directory`: at most four arrays of each length are in memory, whatever is stored.
 *
 * The file is made with the first write and loses its name at once where the system allows that, otherwise on `dispose`.
 * Failures of the disk are thrown by the next call as PithError `ACTIVATIONS_NOT_STORED`.
 */
export function spilledActivations({ directory }: SpilledActivationsOptions): ActivationStore {
  return new SpilledActivations(directory);
}

interface Place {
  readonly offset: number;
  readonly length: number;
}

class SpilledActivations implements ActivationStore {
  readonly #directory: string;
  readonly #spare = new SpareArrays();
  readonly #places = new Map<string, Place>();
  /** Offsets of dropped arrays by length. */
  readonly #free = new Map<number, number[]>();
  #end = 0;
  #file: Promise<FileHandle> | undefined;
  /** Set where the file could not lose its name. */
  #path: string | undefined;
  #writing: { readonly key: string; readonly done: Promise<void> } | undefined;
  #ahead: { readonly key: string; readonly values: Promise<Float32Array> } | undefined;
  #lent: Float32Array | undefined;

  constructor(directory: string) {
    this.#directory = directory;
  }

  take(length: number): Float32Array {
    return this.#spare.take(length);
  }

  giveBack(values: Float32Array): void {
    this.#spare.give(values);
  }

  async read(key: string, next?: string): Promise<Float32Array> {
    this.#takeBack();
    const ahead = this.#ahead;
    this.#ahead = undefined;
    let values: Float32Array;
    if (ahead?.key === key) values = await ahead.values;
    else {
      if (ahead) this.#spare.give(await ahead.values);
      values = await this.#load(key);
    }
    this.#lent = values;
    if (next !== undefined && next !== key && this.#places.has(next)) {
      this.#ahead = { key: next, values: handled(this.#load(next)) };
    }
    return values;
  }

  async write(key: string, values: Float32Array): Promise<void> {
    if (this.#lent !== values) this.#takeBack();
    this.#lent = undefined;
    await this.#settle();
    if (this.#ahead?.key === key) {
      // What was fetched is no longer what is stored.
      this.#spare.give(await this.#ahead.values);
      this.#ahead = undefined;
    }
    const place = this.#place(key, values.length);
    this.#writing = { key, done: handled(this.#store(place, values)) };
  }

  async drop(key: string): Promise<void> {
    if (this.#writing?.key === key) await this.#settle();
    const place = this.#places.get(key);
    if (!place) return;
    this.#places.delete(key);
    this.#free.set(place.length, [...(this.#free.get(place.length) ?? []), place.offset]);
  }

  async dispose(): Promise<void> {
    const { done = Promise.resolve() } = this.#writing ?? {};
    const { values = Promise.resolve() } = this.#ahead ?? {};
    this.#writing = undefined;
    this.#ahead = undefined;
    this.#lent = undefined;
    await Promise.allSettled([done, values]);
    this.#spare.clear();
    this.#places.clear();
    const file = this.#file;
    this.#file = undefined;
    await (await file?.catch(() => undefined))?.close();
    if (this.#path !== undefined) await rm(this.#path, { force: true });
  }

  #takeBack(): void {
    if (this.#lent) this.#spare.give(this.#lent);
    this.#lent = undefined;
  }

  async #settle(): Promise<void> {
    const writing = this.#writing;
    this.#writing = undefined;
    await writing?.done;
  }

  #place(key: string, length: number): Place {
    const known = this.#places.get(key);
    if (known?.length === length) return known;
    const free = this.#free.get(length)?.pop();
    const place = { offset: free ?? this.#end, length };
    if (free === undefined) this.#end += 4 * length;
    this.#places.set(key, place);
    return place;
  }

  async #load(key: string): Promise<Float32Array> {
    if (this.#writing?.key === key) await this.#writing.done;
    const { offset, length } = this.#places.get(key)!;
    const values = this.#spare.take(length);
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    const file = await this.#open();
    for (let at = 0; at < bytes.length;) {
      const { bytesRead } = await this.#attempt(() => file.read(bytes, at, bytes.length - at, offset + at));
      if (bytesRead === 0) throw this.#failed('the file ends too soon');
      at += bytesRead;
    }
    return values;
  }

  async #store({ offset }: Place, values: Float32Array): Promise<void> {
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    const file = await this.#open();
    for (let at = 0; at < bytes.length;) {
      at += (await this.#attempt(() => file.write(bytes, at, bytes.length - at, offset + at))).bytesWritten;
    }
    this.#spare.give(values);
  }

  #open(): Promise<FileHandle> {
    this.#file ??= this.#attempt(async () => {
      await mkdir(this.#directory, { recursive: true });
      const path = join(this.#directory, `activations-${randomUUID()}.tmp`);
      const file = await open(path, 'wx+', 0o600);
      await rm(path).catch(() => (this.#path = path));
      return file;
    });
    return this.#file;
  }

  async #attempt<T>(action: () => Promise<T>): Promise<T> {
    try {
      return await action();
    } catch (cause) {
      throw this.#failed((cause as NodeJS.ErrnoException).code ?? String(cause), cause);
    }
  }

  #failed(why: string, cause?: unknown): PithError {
    return new PithError(
      'ACTIVATIONS_NOT_STORED',
      `calibration: activations must fit on the disk of ${this.#directory}, got ${why}; ` +
        'free space there, give another directory, or allow more memory',
      { details: { directory: this.#directory, reason: why, bytes: this.#end }, cause },
    );
  }
}

/** A promise that is awaited later: its failure is not an unhandled one meanwhile. */
function handled<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}
