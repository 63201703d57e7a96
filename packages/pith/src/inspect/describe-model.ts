// The facts of a config.json that Pith knows.

/** The facts of an architecture that Pith knows. */
export interface InspectedModel {
  /** Blocks. */
  readonly layers: number;
  /** Width of the hidden states. */
  readonly hiddenSize: number;
  /** Width of the feed-forward part. */
  readonly intermediateSize: number;
  /** Query heads. */
  readonly heads: number;
  /** Key and value heads. */
  readonly keyValueHeads: number;
  /** Width of a head. */
  readonly headDim: number;
  /** Tokens of the vocabulary. */
  readonly vocabularySize: number;
  /** Positions that the model was made for. */
  readonly maxPositions: number;
  /** True where the output projection is the embedding. */
  readonly tiedEmbeddings: boolean;
}

/** The facts of a config; null for an architecture that is not supported. @throws PithError `CONFIG_INVALID`. */
export async function describeModel(config: unknown): Promise<InspectedModel | null> {
  const { readModelConfig } = await import('@pith/model');
  try {
    const model = readModelConfig(config);
    return {
      layers: model.layers,
      hiddenSize: model.hiddenSize,
      intermediateSize: model.intermediateSize,
      heads: model.heads,
      keyValueHeads: model.keyValueHeads,
      headDim: model.headDim,
      vocabularySize: model.vocabularySize,
      maxPositions: model.maxPositions,
      tiedEmbeddings: model.tiedEmbeddings,
    };
  } catch (error) {
    if ((error as { code?: unknown }).code === 'ARCHITECTURE_UNSUPPORTED') return null;
    throw error;
  }
}
