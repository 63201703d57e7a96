// A directory of weights as an export: config.json and the other files of the source beside them.
import { setMembers, type StoredWeightsOptions } from '@pith/checkpoint';
import { saveCheckpoint } from '@pith/checkpoint/node';
import type { OpenModel } from '@pith/model/node';
import type { WeightTensor } from '@pith/tensor-core';
import { carriedFiles } from '../../source/carried-files.ts';
import type { ExportContext } from '../format.ts';

/** What is written. */
export interface SavedExport {
  readonly weights: readonly WeightTensor[];
  readonly options: StoredWeightsOptions;
  readonly shardBytes: number;
}

/** Writes it. A head that the config ties, but that has values of its own, is said to be untied. */
export async function saveExport(
  { checkpoint, embeddings }: OpenModel,
  { directory, signal, progress }: ExportContext,
  { weights, options, shardBytes }: SavedExport,
): Promise<void> {
  const configText = setMembers(checkpoint.configText, embeddings === 'conflict' ? { tie_word_embeddings: false } : {});
  const files = await carriedFiles(checkpoint);
  const content = { ...options, configText, weights, shardBytes, files };
  await saveCheckpoint(directory, content, { ...(signal && { signal }), ...(progress && { progress }) });
}
