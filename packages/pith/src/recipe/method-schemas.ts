// The methods of each kind of stage and their options.
import { z } from 'zod';

const Patterns = z.array(z.string().min(1).max(512)).max(1000);
const include = Patterns.exactOptional().describe(
  'Patterns of modules to work on; all linear layers of the blocks when left out.',
);
const ignore = Patterns.exactOptional().describe('Patterns of modules to leave alone.');
const selection = { include, ignore };

const codes = {
  scheme: z.string().exactOptional().describe('Bits, group size and kind of the codes: w4g128.'),
  range: z.string().exactOptional().describe('How the range of the codes is found: minmax, absmax, mse.'),
  scaleDType: z
    .enum(['f16', 'bf16', 'f32'])
    .exactOptional()
    .describe('Dtype of stored scales; that of the weights when left out.'),
};

const Rtn = z.strictObject({ method: z.literal('rtn'), ...codes, ...selection });

/** One entry for each kind of stage: the options of its methods. */
export const MethodSchemas = {
  prune: z
    .discriminatedUnion('method', [
      z.strictObject({ method: z.literal('magnitude'), sparsity: z.number().exactOptional(), ...selection }),
    ])
    .exactOptional(),
  factorize: z
    .discriminatedUnion('method', [z.strictObject({ method: z.literal('svd'), ...selection })])
    .exactOptional(),
  distill: z
    .discriminatedUnion('method', [
      z.strictObject({ method: z.literal('offline'), teacher: z.string().exactOptional() }),
    ])
    .exactOptional(),
  quantize: z.discriminatedUnion('method', [Rtn]).exactOptional(),
};
