// What a checkpoint looks like while it is being written. See `openOutput`.
import type { RunOptions } from '@pith/tensor-core';
import type { OutputLayout } from '../safetensors/plan-output.ts';

/** Where a tensor's bytes go, for threads that write by themselves. */
export interface OutputLocation {
  /** Absolute path of the file under its working name. */
  readonly path: string;
  /** Byte offset of the tensor's first byte in that file. */
  readonly offset: number;
  /** Bytes of the tensor. */
  readonly byteLength: number;
}

/** Options of `openOutput`. */
export interface OpenOutputOptions {
  /**
   * `create` (the default) refuses a working directory that is already there; `resume` asks for one and checks that
   * its files have this layout; `either` resumes where there is one and creates it otherwise.
   */
  readonly mode?: 'create' | 'resume' | 'either';
}

/**
 * An output directory that is being written.
 *
 * Until `publish`, everything lies in a working directory beside it (`<directory>.partial`), and until `finish` each
 * safetensors file in there ends in `.partial`. No step in between looks like a finished checkpoint.
 *
 * What survives: after SIGKILL of the process, everything written (the page cache belongs to the system). After a
 * power loss, what was written before the last `sync`, `finish` or `publish` that returned.
 */
export interface CheckpointOutput {
  /** What is being written, to the byte. */
  readonly layout: OutputLayout;
  /** Absolute path of the final directory. */
  readonly directory: string;
  /** Absolute path of the directory that is written to. */
  readonly workingDirectory: string;
  /** True when the files were there already. */
  readonly resumed: boolean;
  /** Where a tensor's bytes go. Valid until `finish`. */
  location(name: string): OutputLocation;
  /**
   * Writes bytes of a tensor from `offset` (counted from the tensor's first byte). Chunks may come in any order, and
   * twice: the last one counts.
   *
   * @throws PithError `OUTPUT_RANGE` (leaves the tensor), `OUTPUT_UNKNOWN_TENSOR`, `OUTPUT_DISK_FULL`,
   * `OUTPUT_NOT_WRITABLE`, `OUTPUT_WRITE_FAILED`.
   */
  write(name: string, offset: number, bytes: Uint8Array): Promise<void>;
  /** Writes a small file (config.json, a receipt) under its working directory, replacing it as a whole. */
  writeFile(name: string, content: string | Uint8Array): Promise<void>;
  /** Copies a file into the working directory, byte for byte, under `name`. Links are followed. */
  copyFile(source: string, name: string): Promise<void>;
  /** Makes what was written so far survive a power loss: call it before a journal entry that relies on it. */
  sync(): Promise<void>;
  /**
   * Ends the writing of tensors: checks the files' sizes, writes the index, makes all of it durable and gives the
   * files their final names inside the working directory, where they can be read back and checked.
   */
  finish(options?: RunOptions): Promise<void>;
  /**
   * Gives the working directory its final name, in one atomic step, after making everything in it durable.
   *
   * @throws PithError `OUTPUT_EXISTS` when something has appeared there in the meantime.
   */
  publish(): Promise<void>;
  /** Closes the files and leaves the working directory, so that a later `resume` goes on. Done by `publish` too. */
  close(): Promise<void>;
  /** Closes the files and removes the working directory. */
  discard(): Promise<void>;
}
