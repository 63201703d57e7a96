// Sizes as people write them.

const SIZE = /^([0-9]+(?:\.[0-9]+)?)\s*(B|[kKMGT]B?|[kKMGT]iB)?$/;
const POWER: Readonly<Record<string, number>> = { k: 1, K: 1, M: 2, G: 3, T: 4 };

/**
 * The bytes of `500MB`, `2GB`, `1.5GiB`, `1000000`: kB, MB, GB, TB are powers of 1000; KiB, MiB, GiB, TiB of 1024. NaN for what is no
 * size, 0 and unsafe integers for what is out of range.
 */
export function parseByteSize(text: string): number {
  const match = SIZE.exec(text.trim());
  if (match === null) return NaN;
  const unit = match[2] ?? 'B';
  const base = unit.endsWith('iB') ? 1024 : 1000;
  return Math.floor(Number(match[1]) * base ** (POWER[unit[0]!] ?? 0));
}

/** Whether a number of bytes can be meant. */
export function isByteSize(bytes: number): boolean {
  return Number.isSafeInteger(bytes) && bytes >= 1;
}
