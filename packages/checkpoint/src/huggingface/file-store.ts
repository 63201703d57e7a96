// Where a checkpoint's files come from: a local directory (the node entry), a hub, later a browser's file list.
import type { ByteSource } from '@pith/tensor-core';

/** A file or folder of a checkpoint's directory. */
export interface StoredFile {
  /** Name without a directory. */
  readonly name: string;
  /** Bytes; 0 for folders. */
  readonly byteLength: number;
  /** `file` covers links to regular files. */
  readonly kind: 'file' | 'directory' | 'special';
}

/** The files of one checkpoint. Names are plain: no store looks outside of its directory. */
export interface FileStore {
  /** What the checkpoint is called in messages: its directory. */
  readonly label: string;
  /** True where every read crosses a network: what only looks at a checkpoint reads headers and no values. */
  readonly remote?: boolean;
  /** When a file was last changed, in milliseconds; absent where the store does not know. */
  modified?(name: string): Promise<number>;
  /** Everything in the directory, in the order of the names. */
  list(): Promise<readonly StoredFile[]>;
  /**
   * Opens a regular file of the directory.
   *
   * @throws PithError when it is not there, not a regular file, or a link that leaves the directory.
   */
  open(name: string): Promise<ByteSource>;
  /** Closes what was opened; reading opens it again. */
  close(): Promise<void>;
}
