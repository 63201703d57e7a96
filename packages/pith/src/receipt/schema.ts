// The schema of `pith-receipt.json`: a receipt is checked before it is written and when it is read.
import { z } from 'zod';
import type { Receipt, WeightError } from './types.ts';

/** Largest leaf of a hash tree: what a reader of a stranger's receipt is willing to allocate for each thread. */
export const MAX_LEAF_BYTES = 256 * 1024 * 1024;

const Digest = z.string().regex(/^[0-9a-f]{64}$/, 'must be 64 lower-case hexadecimal digits');
const Count = z.int().nonnegative();
/** A file of the directory or below it (`onnx/model.onnx`): a stranger's receipt may not lead out of it. */
const FileName = z
  .string()
  .max(4096)
  .regex(
    /^(?!\.\.?(\/|$))[^/\\\0]{1,255}(\/(?!\.\.?(\/|$))[^/\\\0]{1,255})*$/,
    'must be the plain name of a file, or names of folders and a file with slashes between',
  );

const Tensor = z.strictObject({
  name: z.string(),
  file: FileName,
  dtype: z.string(),
  shape: z.array(Count),
  bytes: Count,
  leafBytes: z.int().positive().max(MAX_LEAF_BYTES),
  sha256: Digest,
});

const File = z.strictObject({ name: FileName, bytes: Count, hashedBytes: Count, sha256: Digest });

/** The schema of {@link WeightError}. */
export const WeightErrorSchema: z.ZodType<WeightError> = z.strictObject({
  mse: z.number().nonnegative(),
  snrDb: z.number().nullable(),
  maxError: z.number().nonnegative(),
  clipped: z.number().min(0).max(1).exactOptional(),
});

const Weight = z.strictObject({
  name: z.string(),
  action: z.string(),
  reason: z.string(),
  shape: z.array(Count),
  bytesBefore: Count,
  bytesAfter: Count,
  steps: z
    .array(
      z.strictObject({
        stage: z.string(),
        action: z.string(),
        reason: z.string(),
        name: z.string().nullable(),
        shape: z.array(Count),
        bytesAfter: Count,
      }),
    )
    .exactOptional(),
  error: WeightErrorSchema.exactOptional(),
});

const Facts = z.record(z.string(), z.unknown());

const Stage = z.strictObject({
  id: z.string(),
  kind: z.string(),
  method: z.string(),
  from: z.string(),
  teachers: z.array(z.string()),
  config: Facts,
  records: z.record(z.string(), Facts),
});

const Calibration = z.strictObject({
  textSha256: Digest,
  textTokens: Count,
  windows: Count,
  context: Count,
  choose: z.enum(['first', 'random']),
  seed: Count.nullable(),
});

const Intervention = z.strictObject({
  stage: z.string(),
  code: z.string(),
  where: z.string(),
  message: z.string(),
  details: Facts,
});

const Perplexity = z.strictObject({ perplexity: z.number(), nll: z.number() });

const Quality = z.strictObject({
  protocol: z.strictObject({
    tokenization: z.string(),
    context: Count,
    bosTokenId: Count,
    stride: Count,
    predictedPerWindow: Count,
    tail: z.string(),
    precision: z.string(),
    activations: z.enum(['f32', 'quantized']).exactOptional(),
    keyValues: z.enum(['f8_e4m3', 'i8']).exactOptional(),
    windows: Count,
  }),
  textSha256: Digest,
  tokens: Count,
  before: Perplexity,
  after: Perplexity.extend({ kl: z.number(), klP99: z.number(), top1Agreement: z.number().min(0).max(1) }),
});

/** The schema of a {@link Receipt} (zod). Unknown keys are refused. */
export const ReceiptSchema: z.ZodType<Receipt> = z.strictObject({
  receipt: z.literal(1),
  operation: z.enum(['quantize', 'prune', 'factorize', 'distill', 'compress', 'export']),
  versions: z.record(z.string(), z.string()),
  options: z.record(z.string(), z.unknown()),
  planSha256: Digest,
  source: z.strictObject({
    architecture: z.string(),
    hub: z.strictObject({ id: z.string(), commit: z.string().regex(/^[0-9a-f]{40}$/) }).exactOptional(),
    files: z.array(File),
    tensors: z.array(Tensor),
    sha256: Digest,
  }),
  output: z.strictObject({ format: z.string(), files: z.array(File), tensors: z.array(Tensor) }),
  weights: z.array(Weight),
  stages: z.array(Stage).exactOptional(),
  calibration: Calibration.exactOptional(),
  interventions: z.array(Intervention),
  notices: z.array(z.string()).exactOptional(),
  totals: z.strictObject({ parameters: Count, bytesBefore: Count, bytesAfter: Count, bitsPerWeight: z.number() }),
  quality: Quality.exactOptional(),
  samples: z.array(z.strictObject({ prompt: z.string(), before: z.string(), after: z.string() })).exactOptional(),
  seal: Digest,
  run: z.strictObject({
    started: z.string(),
    finished: z.string(),
    seconds: z.number(),
    peakMemoryBytes: Count,
    threads: Count,
    resumedUnits: Count,
    units: Count,
    host: z.strictObject({ node: z.string(), platform: z.string(), architecture: z.string(), processors: Count }),
  }),
});
