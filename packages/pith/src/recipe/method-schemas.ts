// The methods of each kind of stage and their options, as recipes and the command line name them. Kinds of values are
// checked here; what fits together, and what fits the model, is for the package of the technique to say.
import { z } from 'zod';

const Patterns = z.array(z.string().min(1).max(512)).max(1000);
const selection = {
  include: Patterns.exactOptional().describe(
    'Patterns of modules to work on; all linear layers of the blocks when left out.',
  ),
  ignore: Patterns.exactOptional().describe('Patterns of modules to leave alone.'),
};

/** The methods of a kind as a union, one strict object for each. */
type MethodSchema = z.ZodObject & { readonly shape: { readonly method: z.ZodLiteral<string> } };

const scheme = z.string().max(100).describe('Bits, group size and kind of the codes: w4g128.');
const range = z
  .string()
  .max(100)
  .exactOptional()
  .describe('How the range of the codes is found: minmax, absmax, percentile:99.9, rms:K, mse, lp:P.');
const coding = {
  scheme,
  range,
  scaleDType: z
    .enum(['f16', 'bf16', 'f32'])
    .exactOptional()
    .describe('Dtype of stored scales; that of the weights when left out.'),
};
const damping = z
  .number()
  .exactOptional()
  .describe('Added to the diagonal of the Gram matrix, as a share of its mean.');

const Rtn = z.strictObject({ method: z.literal('rtn'), ...coding, ...selection });
const Gptq = z.strictObject({
  method: z.literal('gptq'),
  ...coding,
  actOrder: z.enum(['none', 'weight', 'group']).exactOptional().describe('Order in which columns are rounded.'),
  damping,
  importance: z
    .enum(['none', 'hessian'])
    .exactOptional()
    .describe('Whether errors of a range search count as much as the diagonal of the Gram matrix says.'),
  ...selection,
});

const rule = {
  rank: z.int().exactOptional().describe('The same rank for each linear.'),
  ratio: z.number().exactOptional().describe('Share of the parameters that goes, of each linear.'),
  energy: z.number().exactOptional().describe('Share of the squared singular values that stays, of each linear.'),
  ranks: z
    .record(z.string(), z.int().nullable())
    .exactOptional()
    .describe('Rank by module path; null for one that stays dense.'),
};
const factors = {
  ...rule,
  dtype: z
    .enum(['f32', 'f16', 'bf16'])
    .exactOptional()
    .describe('Dtype of the factors; that of the weight when left out.'),
  solver: z
    .enum(['exact', 'randomized'])
    .exactOptional()
    .describe('Full decompositions, or as many triplets as the rank asks for.'),
  ...selection,
};
const Svd = z.strictObject({ method: z.literal('svd'), ...factors });
const Asvd = z.strictObject({
  method: z.literal('asvd'),
  alpha: z.number().exactOptional().describe('Power of the mean magnitude of the inputs.'),
  ...factors,
});
const WhitenedSvd = z.strictObject({ method: z.literal('whitened-svd'), ...factors });

const amount = z.number().exactOptional();
const Structure = z.strictObject({
  method: z.literal('structure'),
  layers: z
    .union([z.number(), z.array(z.int())])
    .exactOptional()
    .describe('Whole layers: how many, a share, or which ones.'),
  neurons: amount.describe('Channels of the feed-forward part of each layer: a count or a share.'),
  kvGroups: amount.describe('Key-value heads with their query heads, of each layer: a count or a share.'),
  score: z.enum(['wanda', 'magnitude']).exactOptional().describe('How neurons and groups are ranked.'),
  contiguous: z.boolean().exactOptional().describe('Takes the layers from one run of neighbours.'),
  multipleOf: z.int().exactOptional().describe('Keeps a multiple of so many neurons.'),
});

/** The methods of each kind of stage. */
export const METHODS_BY_KIND = {
  prune: [Structure],
  factorize: [Svd, Asvd, WhitenedSvd],
  distill: [],
  quantize: [Rtn, Gptq],
} as const satisfies Readonly<Record<string, readonly MethodSchema[]>>;

const { prune, factorize, quantize } = METHODS_BY_KIND;

/** One entry for each kind of stage: the options of its methods. */
export const MethodSchemas = {
  prune: z.discriminatedUnion('method', prune).exactOptional().describe('Removes weights or whole parts.'),
  factorize: z
    .discriminatedUnion('method', factorize)
    .exactOptional()
    .describe('Replaces matrices by products of smaller ones.'),
  quantize: z.discriminatedUnion('method', quantize).exactOptional().describe('Stores weights in fewer bits.'),
};
