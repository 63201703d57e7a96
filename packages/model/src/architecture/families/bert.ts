import type { ModelConfig } from '../../config/model-config.ts';
import { normalizeConfig } from '../../config/normalize.ts';
import { describeLayout } from '../describe-layout.ts';
import type { Family } from '../family.ts';
import type { Layout } from '../layout.ts';

function layoutOf({ traits, tiedEmbeddings }: ModelConfig): Layout {
  // Stored twice; the class reads the decoder's own where it is not tied.
  const [headBias, otherBias] = tiedEmbeddings
    ? ['cls.predictions.bias', /^cls\.predictions\.decoder\.bias$/]
    : ['cls.predictions.decoder.bias', /^cls\.predictions\.bias$/];
  return {
    embedding: 'bert.embeddings.word_embeddings',
    positions: 'bert.embeddings.position_embeddings',
    tokenTypes: 'bert.embeddings.token_type_embeddings',
    embeddingNorm: 'bert.embeddings.LayerNorm',
    blocks: 'bert.encoder.layer',
    norms: { attention: 'attention.output.LayerNorm', feedForward: 'output.LayerNorm' },
    attention: {
      kind: 'separate',
      query: 'attention.self.query',
      key: 'attention.self.key',
      value: 'attention.self.value',
      output: 'attention.output.dense',
    },
    feedForward: { kind: 'plain', up: 'intermediate.dense', down: 'output.dense' },
    ...(!traits['headless'] && {
      outputProjection: { path: 'cls.predictions.transform.dense', bias: true, activated: true },
      finalNorm: 'cls.predictions.transform.LayerNorm',
      headBias,
    }),
    head: 'cls.predictions.decoder',
    // The pooled vector and the guess at the next sentence are not computed.
    ignored: [otherBias, /^bert\.embeddings\.position_ids$/, /^bert\.pooler\./, /^cls\.seq_relationship\./],
    rename: (name) =>
      (/^(?:embeddings|encoder|pooler)\./.test(name) ? `bert.${name}` : name)
        .replace(/\.LayerNorm\.gamma$/, '.LayerNorm.weight')
        .replace(/\.LayerNorm\.beta$/, '.LayerNorm.bias'),
  };
}

/** BERT (Devlin et al. 2019): an encoder, with its head for masked words or, as class `BertModel`, without one. */
export const bert: Family = {
  modelType: 'bert',
  headClasses: ['BertForMaskedLM', 'BertForPreTraining', 'BertModel'],
  members: { headDim: false },
  readConfig: (hf) => {
    const headless = hf.architectures?.includes('BertModel') ?? false;
    return normalizeConfig(
      // Without a head the table of tokens stands in its place, and is never multiplied with.
      headless ? { ...hf, tie_word_embeddings: true } : hf,
      {
        vocab_size: 30522,
        hidden_size: 768,
        intermediate_size: 3072,
        num_hidden_layers: 12,
        num_attention_heads: 12,
        max_position_embeddings: 512,
        norm_epsilon: 1e-12,
        hidden_act: 'gelu',
        bos_token_id: null,
        eos_token_id: null,
        tie_word_embeddings: true,
      },
      {
        kind: 'encoder',
        norm: { kind: 'layer', offset: 0, bias: true },
        rope: null,
        learnedPositions: (rows) => ({ offset: 0, rows }),
        tokenTypes: hf.type_vocab_size ?? 2,
        residual: 'post',
        biases: { queryKeyValue: true, attentionOutput: true, feedForward: true },
        traits: { headless },
      },
    );
  },
  unsupported: (hf) => [
    ...(hf.is_decoder ? ['is_decoder true'] : []),
    ...(hf.add_cross_attention ? ['add_cross_attention true'] : []),
    ...((hf.position_embedding_type ?? 'absolute') === 'absolute'
      ? []
      : [`position_embedding_type ${JSON.stringify(hf.position_embedding_type)}`]),
  ],
  describe: (config) => describeLayout(config, layoutOf(config)),
};
