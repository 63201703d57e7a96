// The members of a config group that decide what stored values mean, as they may come from a file.
import { z } from 'zod';
import { PithError } from '@pith/tensor-core';

/** Longest name of a module, class or pattern. */
export const MAX_NAME_LENGTH = 1000;

/** Largest group, and largest side of a tile. */
const MAX_GROUP = 1_048_576;

/** `QuantizationArgs`: how weights or activations are coded. */
export const argsSchema = z.object({
  num_bits: z.int().min(1).max(32).default(8),
  type: z.enum(['int', 'float']).default('int'),
  symmetric: z.boolean().default(true),
  group_size: z.int().min(-1).max(MAX_GROUP).nullish(),
  strategy: z.string().max(40).nullish(),
  // Older files have "128x128".
  block_structure: z.preprocess(
    (value) => (typeof value === 'string' && /^\d{1,6}x\d{1,6}$/.test(value) ? value.split('x').map(Number) : value),
    z.array(z.int().min(1).max(MAX_GROUP)).length(2).nullish(),
  ),
  dynamic: z.union([z.boolean(), z.string().max(40)]).nullish(),
  actorder: z.union([z.string().max(40), z.boolean()]).nullish(),
  scale_dtype: z.string().max(40).nullish(),
  observer: z.string().max(80).nullish(),
});

/** Parsed {@link argsSchema}. */
export type QuantizationArgs = z.infer<typeof argsSchema>;

/** A member of `config_groups`. */
export const groupSchema = z.object({
  targets: z.array(z.string().max(MAX_NAME_LENGTH)).max(200_000).default([]),
  weights: argsSchema.nullish(),
  input_activations: argsSchema.nullish(),
  output_activations: argsSchema.nullish(),
  format: z.string().max(80).nullish(),
});

/** Parsed {@link groupSchema}. */
export type GroupArgs = z.infer<typeof groupSchema>;

/** The strategy, as the library works it out where it is not said. */
export function strategyOf({ strategy, group_size: size }: QuantizationArgs): string {
  return strategy ?? (size === undefined || size === null ? 'tensor' : size > 0 ? 'group' : 'channel');
}

/** The error for something that a config group says and that is not read. */
export function unsupportedScheme(what: string, name: string, file: string): PithError {
  return new PithError(
    'CT_SCHEME_UNSUPPORTED',
    `read quantization_config: config group "${name.slice(0, 80)}" of ${file} has ${what}, which is not read`,
    { details: { file, group: name, what } },
  );
}
