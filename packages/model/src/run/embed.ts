// Token ids to hidden states: rows of the stored embedding, then what the architecture does with them.
import type { HostTensor, Program } from '@pith/tensor-core';
import type { LanguageModel } from '../language-model.ts';
import { gatherRows, storedWeight } from './restore.ts';

/**
 * Embeds one batch.
 *
 * @param program from `compileEmbedding`, for the shape of `ids`.
 * @param ids Token ids, [batch, tokens] row-major.
 * @returns f32 [batch, tokens, hidden].
 */
export async function embedTokens(model: LanguageModel, program: Program, ids: Int32Array): Promise<HostTensor<'f32'>> {
  const { embedding } = model.architecture;
  const data = await gatherRows(storedWeight(model, embedding.name), ids);
  const { hidden } = await program.run({ rows: { dtype: 'f32', shape: [ids.length, embedding.columns], data } });
  return hidden as HostTensor<'f32'>;
}
