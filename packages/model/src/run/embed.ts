// Token ids to hidden states: rows of the stored embedding, then what the architecture does with them.
import type { HostTensor, Program } from '@pith/tensor-core';
import { embeddingTensors } from '../architecture/expected-tensors.ts';
import type { LanguageModel } from '../language-model.ts';
import { weightInput } from './programs.ts';
import { gatherRows, restoreRows, storedWeight } from './restore.ts';

/** Restored tensors of the embedding beside its tables, by model: they are small and read again for every batch. */
const KEPT = new WeakMap<LanguageModel, Promise<Record<string, HostTensor>>>();

async function restored(model: LanguageModel): Promise<Record<string, HostTensor>> {
  const entries = embeddingTensors(model.architecture).map(
    async ({ name }) => [weightInput(name), await restoreRows(storedWeight(model, name))] as const,
  );
  return Object.fromEntries(await Promise.all(entries));
}

/**
 * Embeds one batch.
 *
 * @param program from `compileEmbedding`, for the shape of `ids`.
 * @param ids Token ids, [batch, tokens] row-major.
 * @param tokens Tokens of a sequence.
 * @param start Position of the first token of each sequence; positions beyond the table's end take its last row.
 * @param segments Segment (token type) of each token, [batch, tokens] row-major; the first when left out.
 * @returns f32 [batch, tokens, hidden].
 */
export async function embedTokens(
  model: LanguageModel,
  program: Program,
  ids: Int32Array,
  tokens: number,
  start = 0,
  segments?: Int32Array,
): Promise<HostTensor<'f32'>> {
  const { embedding, positions, tokenTypes } = model.architecture;
  const data = await gatherRows(storedWeight(model, embedding.name), ids);
  const feeds: Record<string, HostTensor> = {
    rows: { dtype: 'f32', shape: [ids.length, embedding.columns], data },
  };
  if (positions !== null) {
    // Only padding behind the last token lies beyond the table: texts are checked against it.
    const rows = Int32Array.from({ length: tokens }, (_, i) =>
      Math.min(positions.rows - 1, positions.offset + start + i),
    );
    feeds['positions'] = {
      dtype: 'f32',
      shape: [tokens, positions.columns],
      data: await gatherRows(storedWeight(model, positions.name), rows),
    };
  }
  if (tokenTypes !== null) {
    feeds['segments'] = {
      dtype: 'f32',
      shape: [ids.length, tokenTypes.columns],
      data: await gatherRows(storedWeight(model, tokenTypes.name), segments ?? new Int32Array(ids.length)),
    };
  }
  let kept = KEPT.get(model);
  if (kept === undefined) {
    kept = restored(model);
    KEPT.set(model, kept);
  }
  const { hidden } = await program.run({ ...feeds, ...(await kept) });
  return hidden as HostTensor<'f32'>;
}
