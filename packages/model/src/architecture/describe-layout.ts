// Table and program of a model from its facts and the names of its family.
import type { ModelConfig } from '../config/model-config.ts';
import type { Architecture, EmbeddingSpec, LinearSpec } from './architecture.ts';
import { normSpec } from './block-norms.ts';
import { blockSpec, outerLinear } from './block-table.ts';
import type { Layout } from './layout.ts';
import { architectureProgram } from './program.ts';
import type { PackedExperts, StorageRules } from './storage-rules.ts';

function table(path: string, rows: number, columns: number): EmbeddingSpec {
  return { path, name: `${path}.weight`, rows, columns };
}

/** The linear between the last block and the head, and what the head reads. */
function ending(config: ModelConfig, layout: Layout) {
  const { hiddenSize, vocabularySize, tiedEmbeddings } = config;
  const { outputProjection: given, finalNorm: normPath, head: headPath, headBias = null } = layout;
  const width = given && !given.activated ? config.embeddingSize : hiddenSize;
  const normName = normPath === undefined ? null : `${normPath}.weight`;
  const behindNorm = given !== undefined && !given.activated;
  const outputProjection: LinearSpec | null =
    given === undefined
      ? null
      : outerLinear(given.path, [width, hiddenSize], {
          role: 'projection',
          biasName: given.bias ? `${given.path}.bias` : null,
          inputGroup: given.path,
          normBefore: behindNorm ? normName : null,
        });
  const head = outerLinear(headPath, [vocabularySize, width], {
    role: 'head',
    biasName: headBias,
    inputGroup: headPath,
    normBefore: behindNorm ? null : normName,
    ...(tiedEmbeddings && { name: `${layout.embedding}.weight`, tied: true }),
  });
  const readers = [behindNorm ? given.path : headPath];
  const finalNorm = normPath === undefined ? null : normSpec(normPath, 'final', config.norm, [hiddenSize], readers);
  return { outputProjection, head, finalNorm };
}

function storageRules(config: ModelConfig, { experts: names, blocks, rename }: Layout): StorageRules {
  const packed: PackedExperts[] = [];
  const { experts, hiddenSize } = config;
  if (experts && names) {
    const { count, intermediateSize: width } = experts;
    const each = <T>(make: (expert: number) => T[]) => Array.from({ length: count }, (_, i) => make(i)).flat();
    for (const [index, has] of experts.layers.entries()) {
      if (!has) continue;
      const at = `${blocks}.${index}`;
      const weight = (expert: number, module: string) => `${at}.${names.experts}.${expert}.${module}.weight`;
      for (const form of names.packed) {
        packed.push(
          {
            name: `${at}.${form.gateUp}`,
            shape: [count, 2 * width, hiddenSize],
            weights: each((expert) => [
              { expert, name: weight(expert, names.gate), start: 0, end: width },
              { expert, name: weight(expert, names.up), start: width, end: 2 * width },
            ]),
          },
          {
            name: `${at}.${form.down}`,
            shape: [count, hiddenSize, width],
            weights: each((expert) => [{ expert, name: weight(expert, names.down), start: 0, end: hiddenSize }]),
          },
        );
      }
    }
  }
  return { rename: rename ?? ((name) => name), packed };
}

/** The table and program of a model. */
export function describeLayout(config: ModelConfig, layout: Layout): Architecture {
  const { vocabularySize, hiddenSize, embeddingSize, learnedPositions, tiedEmbeddings } = config;
  const { embedding, positions, tokenTypes, embeddingNorm, inputProjection, head: headPath, ignored = [] } = layout;
  const nextTokenPaths = Array.from(
    { length: config.nextTokenLayers },
    (_, index) => `${layout.blocks}.${config.layers + index}`,
  );
  return {
    config,
    embedding: table(embedding, vocabularySize, embeddingSize),
    positions:
      positions === undefined
        ? null
        : { ...table(positions, learnedPositions!.rows, hiddenSize), offset: learnedPositions!.offset },
    tokenTypes: tokenTypes === undefined ? null : table(tokenTypes, config.tokenTypes, hiddenSize),
    embeddingNorm:
      embeddingNorm === undefined ? null : normSpec(embeddingNorm, 'embedding', config.norm, [hiddenSize], []),
    inputProjection:
      inputProjection === undefined
        ? null
        : outerLinear(inputProjection, [hiddenSize, embeddingSize], {
            role: 'projection',
            biasName: null,
            inputGroup: inputProjection,
            normBefore: null,
          }),
    blocks: Array.from({ length: config.layers }, (_, index) => blockSpec(config, layout, index)),
    ...ending(config, layout),
    nextTokenPaths,
    // Checkpoints of 2023 carry the rotary frequencies of each layer.
    ignored: [
      /\.(?:rotary_emb|maybe_rotary|rotary)\.inv_freq$/,
      ...nextTokenPaths.map((path) => new RegExp(`^${path.replaceAll('.', '\\.')}\\.`)),
      ...(tiedEmbeddings ? [new RegExp(`^${headPath.replaceAll('.', '\\.')}\\.weight$`)] : []),
      ...ignored,
    ],
    storage: storageRules(config, layout),
    program: architectureProgram(config, layout),
  };
}
