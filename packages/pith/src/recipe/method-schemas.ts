// The methods of each kind of stage and their options, as recipes and the command line name them. Kinds of values are
// checked here; what fits together, and what fits the model, is for the package of the technique to say.
import { z } from 'zod';
import { FIT } from './budget.ts';

const Patterns = z.array(z.string().min(1).max(512)).max(1000);
const selection = {
  include: Patterns.exactOptional().describe(
    'Patterns of modules to work on; all linear layers of the blocks when left out.',
  ),
  ignore: Patterns.exactOptional().describe('Patterns of modules to leave alone.'),
};

/** A share, or what leaves it to the budget of the recipe. */
const fitted = z.union([z.number(), z.literal(FIT)], `must be a number, or "${FIT}" for what the budget allows`);

/** The methods of a kind as a union, one strict object for each. */
type MethodSchema = z.ZodObject & { readonly shape: { readonly method: z.ZodLiteral<string> } };

const coding = {
  scheme: z
    .string()
    .max(100)
    .describe('Bits, group size and kind of the codes: w4g128; fit for what the budget allows.'),
  range: z
    .string()
    .max(100)
    .exactOptional()
    .describe('How the range of the codes is found: minmax, absmax, percentile:99.9, rms:K, mse, lp:P.'),
  scaleDType: z
    .enum(['f16', 'bf16', 'f32'])
    .exactOptional()
    .describe('Dtype of stored scales; that of the weights when left out.'),
};
/** Of methods that code different modules differently. */
const mixed = {
  schemeFor: z
    .record(z.string().min(1).max(512), z.string().max(100))
    .exactOptional()
    .describe('Other schemes by module pattern: { "mlp.down_proj": "w8g128" }; of several that match the last counts.'),
};
const damping = z
  .number()
  .exactOptional()
  .describe('Added to the diagonal of the Gram matrix, as a share of its mean.');
const count = z.int().exactOptional();

const training = {
  learningRate: z.number().exactOptional().describe('Highest learning rate.'),
  schedule: z.enum(['cosine', 'wsd', 'constant']).exactOptional().describe('What the rate does after its warm-up.'),
  warmupSteps: count.describe('Steps in which the rate rises.'),
  batchSize: count.describe('Windows in a batch.'),
  microBatches: count.describe('Batches whose gradients make up one step.'),
  clipNorm: z
    .number()
    .nullable()
    .exactOptional()
    .describe('Largest global norm of the gradients; null for no clipping.'),
  weightDecay: z.number().exactOptional().describe("AdamW's decay."),
  saveEvery: count.describe('Steps after which the state is saved.'),
};
const steps = z.int().describe('Steps of the optimizer.');
const trainable = z
  .string()
  .exactOptional()
  .describe('What is trained: all, norms, factors, lora:rank=8, or patterns of modules.');

const Rtn = z.strictObject({ method: z.literal('rtn'), ...coding, ...mixed, ...selection });
const gptqOptions = {
  ...coding,
  actOrder: z.enum(['none', 'weight', 'group']).exactOptional().describe('Order in which columns are rounded.'),
  damping,
  importance: z
    .enum(['none', 'hessian'])
    .exactOptional()
    .describe('Whether errors of a range search count as much as the diagonal of the Gram matrix says.'),
};
const Gptq = z.strictObject({ method: z.literal('gptq'), ...gptqOptions, ...mixed, ...selection });
const Awq = z.strictObject({
  method: z.literal('awq'),
  scheme: coding.scheme,
  scaleDType: coding.scaleDType,
  gridPoints: count.describe('Points of the grid of exponents.'),
  duoScaling: z
    .union([z.boolean(), z.literal('both')])
    .exactOptional()
    .describe('Divides scales by the magnitudes of the weights too.'),
  scaling: z.boolean().exactOptional().describe('Searches input scales.'),
  clipping: z.boolean().exactOptional().describe('Searches clipping of the ranges.'),
  ...mixed,
  ...selection,
});
const Hqq = z.strictObject({
  method: z.literal('hqq'),
  scheme: coding.scheme,
  scaleDType: coding.scaleDType,
  norm: z.number().exactOptional().describe('Exponent of the norm of the errors, above 0, at most 1.'),
  iterations: count.describe('Most iterations.'),
  ...mixed,
  ...selection,
});
const SmoothQuant = z.strictObject({
  method: z.literal('smoothquant'),
  scheme: coding.scheme.exactOptional().describe('Scheme with quantized activations: w8a8, w8a8-static.'),
  range: coding.range,
  scaleDType: coding.scaleDType,
  ...mixed,
  alpha: z.number().exactOptional().describe('How much of the difficulty goes from activations to weights, 0 to 1.'),
  folds: z
    .enum(['norms', 'all'])
    .exactOptional()
    .describe('Which inputs are smoothed: those behind a norm, or all that can be folded.'),
  ...selection,
});
const Qat = z.strictObject({
  method: z.literal('qat'),
  steps,
  ...coding,
  ...mixed,
  train: z.enum(['all', 'linears', 'steps']).exactOptional().describe('Weights and step sizes, or step sizes alone.'),
  stepRate: z.number().exactOptional().describe('Learning rate of step sizes, relative to that of the weights.'),
  soft: z.number().exactOptional().describe('Weight of the distributions of the dense model, or of a teacher.'),
  hard: z.number().exactOptional().describe('Weight of the tokens of the text.'),
  temperature: z.number().exactOptional().describe('Temperature of the distributions.'),
  ...training,
  ...selection,
});

const KvCache = z.strictObject({
  method: z.literal('kv-cache'),
  scheme: z
    .enum(['fp8', 'int8', 'fp8-head', 'int8-head'])
    .exactOptional()
    .describe('What kept keys and values are coded in; -head: with a scale for each head.'),
});

const sparsity = z.number().describe('Share of the weights that go, 0 to 1.');
const pattern = z.string().max(20).exactOptional().describe('2:4: so many of so many neighbours in a row stay.');
const comparison = z.enum(['row', 'layer']).exactOptional().describe('Which weights are compared with one another.');
const unstructured = { sparsity: sparsity.exactOptional(), pattern, comparison, ...selection };
const Magnitude = z.strictObject({ method: z.literal('magnitude'), ...unstructured });
const Wanda = z.strictObject({ method: z.literal('wanda'), ...unstructured });
const Taylor = z.strictObject({ method: z.literal('taylor'), ...unstructured });
const SparseGpt = z.strictObject({
  method: z.literal('sparsegpt'),
  sparsity: sparsity.exactOptional(),
  pattern,
  damping,
  blockColumns: count.describe('Columns whose weights are compared with one another.'),
  quantize: z
    .strictObject(gptqOptions)
    .exactOptional()
    .describe('Quantizes what stays in the same sweep, as gptq does.'),
  ...selection,
});
const amount = z.number().exactOptional();
const NEURONS = 'Channels of the feed-forward part of each layer: a count or a share.';
const EXPERTS = 'Whole experts of each layer that has experts: a count or a share.';
const structure = {
  neurons: amount.describe(NEURONS),
  kvGroups: amount.describe('Key-value heads with their query heads, of each layer: a count or a share.'),
  experts: amount.describe(EXPERTS),
  score: z
    .enum(['wanda', 'magnitude', 'taylor'])
    .exactOptional()
    .describe('How neurons, groups and experts are ranked.'),
  contiguous: z.boolean().exactOptional().describe('Takes the layers from one run of neighbours.'),
  multipleOf: z.int().exactOptional().describe('Keeps a multiple of so many neurons.'),
};
const Structure = z.strictObject({
  method: z.literal('structure'),
  layers: z
    .union([z.number(), z.array(z.int())])
    .exactOptional()
    .describe('Whole layers: how many, a share, or which ones.'),
  ...structure,
  neurons: fitted.exactOptional().describe(NEURONS),
  experts: fitted.exactOptional().describe(EXPERTS),
});
const Iterative = z.strictObject({
  method: z.literal('iterative'),
  by: z
    .discriminatedUnion('method', [
      z.strictObject({ method: z.literal('magnitude'), comparison, ...selection }),
      z.strictObject({ method: z.literal('wanda'), comparison, ...selection }),
      z.strictObject({ method: z.literal('taylor'), comparison, ...selection }),
      z.strictObject({ method: z.literal('sparsegpt'), damping, blockColumns: count, ...selection }),
      z.strictObject({ method: z.literal('structure'), layers: z.number().exactOptional(), ...structure }),
    ])
    .describe('How each round prunes.'),
  sparsity: sparsity.exactOptional(),
  rounds: count.describe('Rounds on the way.'),
  spacing: z.enum(['cubic', 'linear']).exactOptional().describe('How the rounds divide the way.'),
  degradation: z
    .number()
    .exactOptional()
    .describe('Ends before a round whose perplexity is above so many times the original; needs evaluate.'),
  fineTune: z
    .strictObject({ steps, ...training, trainable })
    .exactOptional()
    .describe('Training after each round.'),
});
const Gradual = z.strictObject({
  method: z.literal('gradual'),
  steps,
  sparsity,
  initialSparsity: z.number().exactOptional().describe('Share that is cut before the first step.'),
  rampSteps: count.describe('Steps until the share is reached.'),
  pruneEvery: count.describe('Steps from one pruning to the next.'),
  comparison,
  trainable,
  ...training,
  ...selection,
});

const factors = {
  rank: z.int().exactOptional().describe('The same rank for each linear.'),
  ratio: fitted.exactOptional().describe('Share of the parameters that goes, of each linear.'),
  energy: z.number().exactOptional().describe('Share of the squared singular values that stays, of each linear.'),
  budget: z.number().exactOptional().describe('Share of the parameters that goes, of all linears together.'),
  weigh: z.enum(['output', 'loss']).exactOptional().describe('With budget: what the error of a linear counts.'),
  ranks: z
    .record(z.string(), z.int().nullable())
    .exactOptional()
    .describe('Rank by module path; null for one that stays dense.'),
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
const stack = {
  stack: z.enum(['layers', 'heads']).exactOptional().describe('What is stacked: matrices of one role, or heads.'),
  ratio: fitted.exactOptional().describe('Share of the stored parameters that goes, of each matrix.'),
  tolerance: z.number().exactOptional().describe('Ends when a round lowers the relative error by less.'),
  iterations: count.describe('Most rounds.'),
  dtype: factors.dtype,
  ...selection,
};
const Tucker = z.strictObject({
  method: z.literal('tucker'),
  ranks: z.tuple([z.int(), z.int(), z.int()]).exactOptional().describe('Ranks of the stack, of rows and of columns.'),
  ...stack,
});
const Cp = z.strictObject({
  method: z.literal('cp'),
  rank: count.describe('Terms.'),
  starts: count.describe('Starts, of which the best counts.'),
  ...stack,
});

const Offline = z.strictObject({
  method: z.literal('offline'),
  steps,
  loss: z.string().max(1000).exactOptional().describe('Terms of the loss: kl:T=2,hard:0.1.'),
  student: z
    .union([
      z.string().max(4096),
      z.strictObject({ kind: z.literal('random'), config: z.record(z.string(), z.unknown()) }),
    ])
    .exactOptional()
    .describe('model (as it is), layers=0,2,4, or the path of a config.json for random weights.'),
  trainable,
  keepZeros: z.boolean().exactOptional().describe('Keeps zeros of pruned matrices.'),
  combine: z.enum(['weights', 'confidence']).exactOptional().describe('How several teachers become one.'),
  teacherWeights: z.array(z.number()).max(16).exactOptional().describe('Weight of each teacher.'),
  cacheTop: count.describe('Keeps so many of the most likely tokens of the teacher on the disk, and trains from them.'),
  generations: count.describe('Generations of self-distillation.'),
  mutual: z.boolean().exactOptional().describe('The teacher is a second student that is trained too.'),
  ...training,
});

/** The methods of each kind of stage. */
export const METHODS_BY_KIND = {
  prune: [Magnitude, Wanda, Taylor, SparseGpt, Structure, Iterative, Gradual],
  factorize: [Svd, Asvd, WhitenedSvd, Tucker, Cp],
  distill: [Offline],
  quantize: [Rtn, Hqq, Gptq, Awq, SmoothQuant, Qat, KvCache],
} as const satisfies Readonly<Record<string, readonly MethodSchema[]>>;

/** Methods that train, on a text that their stage may name. */
export const TRAINING_METHODS: ReadonlySet<string> = new Set(['qat', 'iterative', 'gradual', 'offline']);
/** Methods that a teacher can help. */
export const TAUGHT_METHODS: ReadonlySet<string> = new Set(['qat', 'offline']);

const { prune, factorize, distill, quantize } = METHODS_BY_KIND;

/** One entry for each kind of stage: the options of its methods. */
export const MethodSchemas = {
  prune: z.discriminatedUnion('method', prune).exactOptional().describe('Removes weights or whole parts.'),
  factorize: z
    .discriminatedUnion('method', factorize)
    .exactOptional()
    .describe('Replaces matrices by products of smaller ones.'),
  distill: z.discriminatedUnion('method', distill).exactOptional().describe('Trains a student by what teachers say.'),
  quantize: z.discriminatedUnion('method', quantize).exactOptional().describe('Stores weights in fewer bits.'),
};
