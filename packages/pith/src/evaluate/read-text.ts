// The text of an evaluation.
import { readFile } from 'node:fs/promises';
import { PithError } from '@pith/tensor-core';
import { sha256 } from '../run/hash-tree.ts';

/** Largest text that is read: it is tokenized as a whole. */
const MAX_TEXT_BYTES = 512 * 1024 * 1024;

/** A text and the hash of its bytes. */
export interface EvaluationFile {
  readonly text: string;
  readonly sha256: string;
}

/**
 * Reads a text file in UTF-8.
 *
 * @throws PithError `TEXT_NOT_READABLE`, `TEXT_TOO_LARGE`, `TEXT_NOT_UTF8`.
 */
export async function readText(path: string): Promise<EvaluationFile> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (cause) {
    const { code = 'unknown' } = cause as NodeJS.ErrnoException;
    const why = code === 'ENOENT' ? 'it does not exist' : code === 'EISDIR' ? 'it is a directory' : code;
    throw new PithError('TEXT_NOT_READABLE', `read text: ${path} must be a readable text file: ${why}`, {
      details: { path, systemCode: code },
      cause,
    });
  }
  if (bytes.byteLength > MAX_TEXT_BYTES) {
    throw new PithError(
      'TEXT_TOO_LARGE',
      `read text: ${path} may have at most ${MAX_TEXT_BYTES} bytes, it has ${bytes.byteLength}; use a part of it`,
      { details: { path, bytes: bytes.byteLength, limit: MAX_TEXT_BYTES } },
    );
  }
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    return { text, sha256: sha256(bytes) };
  } catch (cause) {
    throw new PithError('TEXT_NOT_UTF8', `read text: ${path} must be UTF-8, it is not; convert it first`, {
      details: { path },
      cause,
    });
  }
}
