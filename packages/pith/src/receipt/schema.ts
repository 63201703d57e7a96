// What a receipt holds, as a zod schema: it is checked before it is written and when it is read. Everything but `run`
// depends on the input and the options alone: two runs of the same job differ in `run` only. docs/receipts.md explains
// each field.
import { z } from 'zod';

/** Largest leaf of a hash tree: what a reader of a stranger's receipt is willing to allocate for each thread. */
export const MAX_LEAF_BYTES = 256 * 1024 * 1024;

const Digest = z.string().regex(/^[0-9a-f]{64}$/, 'must be 64 lower-case hexadecimal digits');
const Count = z.number().int().nonnegative();

const TensorHash = z.strictObject({
  name: z.string(),
  file: z.string(),
  dtype: z.string(),
  shape: z.array(Count),
  bytes: Count,
  /** Bytes of a leaf of the hash tree; see docs/receipts.md. */
  leafBytes: z.number().int().positive().max(MAX_LEAF_BYTES),
  /** Tree hash of the stored bytes. */
  sha256: Digest,
});

const FileHash = z.strictObject({
  name: z.string(),
  bytes: Count,
  /** How many of the first bytes `sha256` is over: all of them, or the header of a file of tensors. */
  hashedBytes: Count,
  sha256: Digest,
});

/** How a quantized weight differs from the dense one. */
export const QuantizationError = z.strictObject({
  /** Mean squared difference of restored and original weights. */
  mse: z.number().nonnegative(),
  /** 10 log10(sum of squares / sum of squared differences) in dB; null where nothing was lost or all weights are 0. */
  snrDb: z.number().nullable(),
  /** Largest absolute difference. */
  maxError: z.number().nonnegative(),
  /** Weights beyond the range of the codes, as a share of all, 0 to 1. */
  clipped: z.number().min(0).max(1),
});

const Weight = z.strictObject({
  name: z.string(),
  action: z.enum(['quantize', 'keep', 'omit']),
  reason: z.string(),
  shape: z.array(Count),
  bytesBefore: Count,
  bytesAfter: Count,
  /** Of quantized weights. */
  error: QuantizationError.optional(),
});

const Quality = z.strictObject({
  protocol: z.strictObject({
    tokenization: z.string(),
    /** Positions of a window, BOS included. */
    context: Count,
    bosTokenId: Count,
    stride: Count,
    predictedPerWindow: Count,
    tail: z.string(),
    precision: z.string(),
    windows: Count,
  }),
  /** Of the text, which is not kept. */
  textSha256: Digest,
  tokens: Count,
  before: z.strictObject({ perplexity: z.number(), nll: z.number() }),
  after: z.strictObject({
    perplexity: z.number(),
    nll: z.number(),
    kl: z.number(),
    klP99: z.number(),
    top1Agreement: z.number(),
  }),
});

/** The schema of `pith-receipt.json`. Unknown keys are refused. */
export const ReceiptSchema = z.strictObject({
  receipt: z.literal(1),
  operation: z.literal('quantize'),
  /** Versions of the packages that decide the bytes. */
  versions: z.record(z.string(), z.string()),
  /** Options after defaults were filled in. */
  options: z.record(z.string(), z.unknown()),
  /** Hash of the plan: equal plans of equal sources write equal bytes. */
  planSha256: Digest,
  source: z.strictObject({
    architecture: z.string(),
    files: z.array(FileHash),
    tensors: z.array(TensorHash),
    /** Over all of the above: two sources with this hash in common are the same. */
    sha256: Digest,
  }),
  output: z.strictObject({
    format: z.string(),
    files: z.array(FileHash),
    tensors: z.array(TensorHash),
  }),
  weights: z.array(Weight),
  /** Numerical rescues: what was done other than planned. Round to nearest needs none. */
  interventions: z.array(z.strictObject({ weight: z.string(), kind: z.string(), detail: z.string() })),
  totals: z.strictObject({
    parameters: Count,
    bytesBefore: Count,
    bytesAfter: Count,
    bitsPerWeight: z.number(),
  }),
  /** Where a text was given to evaluate on. */
  quality: Quality.optional(),
  /** SHA-256 of everything above in canonical JSON: a receipt that was edited does not verify. */
  seal: Digest,
  /** What differs from run to run. */
  run: z.strictObject({
    started: z.string(),
    finished: z.string(),
    /** Of this process; a resumed run took longer in all. */
    seconds: z.number(),
    peakMemoryBytes: Count,
    threads: Count,
    /** Units of work that an earlier, interrupted run had finished. */
    resumedUnits: Count,
    units: Count,
    host: z.strictObject({ node: z.string(), platform: z.string(), architecture: z.string(), processors: Count }),
  }),
});

/** The record that a run leaves in its artefact. */
export type Receipt = z.infer<typeof ReceiptSchema>;
/** The receipt of a tensor's stored bytes. */
export type TensorHash = z.infer<typeof TensorHash>;
/** The receipt of a file. */
export type FileHash = z.infer<typeof FileHash>;
/** What became of one weight. */
export type WeightReceipt = z.infer<typeof Weight>;
/** Quality before and after. */
export type QualityReceipt = z.infer<typeof Quality>;
