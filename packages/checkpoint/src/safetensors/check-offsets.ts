// The tensors of a file must cover its data exactly: from the first byte to the last, without a gap and without an
// overlap. A gap can hide a second file inside the first, an overlap makes tensors share memory.
import { PithError } from '@pith/tensor-core';
import type { HeaderEntry } from './encode-header.ts';

/**
 * Returns the entries in the order of their offsets.
 *
 * @param dataBytes bytes of the file behind its header.
 * @throws PithError `SAFETENSORS_OFFSETS_OVERLAP`, `SAFETENSORS_OFFSETS_GAP`, `SAFETENSORS_OFFSETS_OUT_OF_RANGE`,
 * `SAFETENSORS_FILE_TRUNCATED`, `SAFETENSORS_TRAILING_BYTES`.
 */
export function checkOffsets(entries: readonly HeaderEntry[], dataBytes: number, file: string): HeaderEntry[] {
  const sorted = [...entries].sort((a, b) => a.start - b.start || a.end - b.end);
  let end = 0;
  let last: HeaderEntry | undefined;
  for (const entry of sorted) {
    if (entry.start > end && entry.end > dataBytes) {
      const why = `its bytes ${entry.start} to ${entry.end} lie outside the ${dataBytes} bytes of data`;
      throw fault('OFFSETS_OUT_OF_RANGE', entry, file, why, { dataBytes });
    }
    if (entry.start > end) {
      const why = `it starts at byte ${entry.start} and nothing covers the bytes from ${end}`;
      throw fault('OFFSETS_GAP', entry, file, why, { expected: end });
    }
    if (entry.start < end) {
      const why = `it starts at byte ${entry.start}, inside of tensor ${JSON.stringify(last?.name)} that ends at ${end}`;
      throw fault('OFFSETS_OVERLAP', entry, file, why, { other: last?.name });
    }
    end = entry.end;
    last = entry;
  }
  if (end > dataBytes) {
    const cut = sorted.find((entry) => entry.end > dataBytes)!;
    const why = `the file ends ${end - dataBytes} bytes too early (first cut tensor), as after a broken download`;
    throw fault('FILE_TRUNCATED', cut, file, why, { expected: end, got: dataBytes });
  }
  if (end < dataBytes) {
    throw new PithError(
      'SAFETENSORS_TRAILING_BYTES',
      `read safetensors header: the tensors of ${file} must cover all of its data, ${dataBytes - end} bytes follow ` +
        `behind them; the file is damaged or hides something: get it again`,
      { details: { file, expected: end, got: dataBytes } },
    );
  }
  return sorted;
}

function fault(
  code: string,
  entry: HeaderEntry,
  file: string,
  why: string,
  details: Record<string, unknown>,
): PithError {
  return new PithError(
    `SAFETENSORS_${code}`,
    `read safetensors header: tensor ${JSON.stringify(entry.name)} in ${file}: ${why}; get the file again`,
    { details: { file, tensor: entry.name, start: entry.start, end: entry.end, ...details } },
  );
}
