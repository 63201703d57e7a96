// What a run that writes an artefact hands back.
import { join } from 'node:path';
import { RECEIPT_NAME } from '../receipt/receipt.ts';
import type { QualityReceipt, Receipt } from '../receipt/types.ts';
import { peakMemoryBytes } from './peak-memory.ts';

/** The weight that lost most. */
export interface WorstWeight {
  /** Name in the source. */
  readonly name: string;
  /** Signal-to-noise ratio in dB. */
  readonly snrDb: number;
}

/** What a run has done. */
export interface CompressResult {
  /** Directory of the artefact, as it was named. */
  readonly output: string;
  /** Bytes of the source's tensor files. */
  readonly bytesBefore: number;
  /** Bytes of the artefact's tensor files. */
  readonly bytesAfter: number;
  /** See `Plan.bitsPerWeight`. */
  readonly bitsPerWeight: number;
  /** Wall time of this process's run. */
  readonly seconds: number;
  /** Most resident memory of this process so far. */
  readonly peakMemoryBytes: number;
  /** Path of the receipt. */
  readonly receipt: string;
  /** The weight with the lowest signal-to-noise ratio; null where nothing was lost. */
  readonly worst: WorstWeight | null;
  /** Numerical rescues and exceptions; they are in the receipt. */
  readonly interventions: number;
  /** Present with an evaluation. */
  readonly quality: QualityReceipt | null;
}

/** What a run has done, from its receipt. */
export function resultOf(output: string, receipt: Receipt, seconds: number): CompressResult {
  const worst = receipt.weights.reduce<WorstWeight | null>((least, { name, error }) => {
    const snrDb = error?.snrDb ?? null;
    return snrDb === null || (least !== null && least.snrDb <= snrDb) ? least : { name, snrDb };
  }, null);
  const { bytesBefore, bytesAfter, bitsPerWeight } = receipt.totals;
  return {
    output,
    bytesBefore,
    bytesAfter,
    bitsPerWeight,
    seconds,
    peakMemoryBytes: peakMemoryBytes(),
    receipt: join(output, RECEIPT_NAME),
    worst,
    interventions: receipt.interventions.length,
    quality: receipt.quality ?? null,
  };
}
