// The hash by which a hub names a content, taken while the bytes pass.
import { createHash } from 'node:crypto';
import type { HubFile } from '../../hub/hub-repository.ts';

/** A hash under way. */
export interface ContentHash {
  /** Takes the next bytes. */
  update(bytes: Uint8Array): void;
  /** The hash of all bytes, lower-case hexadecimal. */
  digest(): string;
}

/** SHA-256 of a large file; of a small one git's blob hash: SHA-1 over `blob <length>`, a zero byte, and the content. */
export function contentHash({ hashKind, byteLength }: Pick<HubFile, 'hashKind' | 'byteLength'>): ContentHash {
  const hash = createHash(hashKind === 'sha256' ? 'sha256' : 'sha1');
  if (hashKind === 'git-sha1') hash.update(`blob ${byteLength}\0`);
  return { update: (bytes) => void hash.update(bytes), digest: () => hash.digest('hex') };
}
