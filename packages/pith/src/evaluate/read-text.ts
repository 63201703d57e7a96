// The text of an evaluation.
import { readFile } from 'node:fs/promises';
import type { EvaluationText } from '@pith/model';
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

/** A text, or token ids for models without a tokenizer. */
export interface Text {
  readonly content: EvaluationText;
  /** SHA-256 of the file. */
  readonly sha256: string;
}

/**
 * Reads a text file, or token ids from a `.json` file that holds a list of them.
 *
 * @throws PithError those of {@link readText}, `TOKEN_IDS_INVALID`.
 */
export async function readTextOrIds(path: string): Promise<Text> {
  const { text, sha256 } = await readText(path);
  if (!path.endsWith('.json')) return { content: { text }, sha256 };
  let ids: unknown;
  try {
    ids = JSON.parse(text);
  } catch (cause) {
    throw invalid(path, cause);
  }
  if (!Array.isArray(ids) || !ids.every((id) => Number.isInteger(id) && id >= 0 && id < 2 ** 31)) throw invalid(path);
  return { content: { ids: Int32Array.from(ids as number[]) }, sha256 };
}

function invalid(path: string, cause?: unknown): PithError {
  return new PithError(
    'TOKEN_IDS_INVALID',
    `read token ids: ${path} must hold a JSON list of whole numbers from 0, it does not; give a text file with another ending, or ids`,
    { details: { path }, cause },
  );
}
