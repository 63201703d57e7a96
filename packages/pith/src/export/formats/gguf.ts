// One file (or several, split) for llama.cpp, Ollama, LM Studio and node-llama-cpp.
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { restoreBlocks, type CheckpointTensor, type GgmlTypeName } from '@pith/checkpoint';
import { ggufFamily, ggufTensors, isSingleExpert, type GgufTensorSource } from '@pith/model';
import type { OpenModel } from '@pith/model/node';
import { chooseTypes, MIXTURES, mixtureOf, type ChosenType, type Mixture } from '@pith/quant';
import type { PlanProblem } from '../../plan/types.ts';
import { sha256, treeHash } from '../../run/hash-tree.ts';
import type { TensorLeaves } from '../../run/journal.ts';
import { LEAF_BYTES, runLeaves } from '../../run/leaves.ts';
import type { FileHash, TensorHash } from '../../receipt/types.ts';
import type { ExportContext, ExportFormat, ExportRequest, PreparedExport, WrittenContent } from '../format.ts';
import { fitImportance, missingImportance, readImportance, type FittedImportance } from '../gguf/importance.ts';
import { factorNotices, fallbackNotices, headNotices, nextTokenNotices, windowNotices } from '../gguf/notices.ts';
import { exportMetadata } from '../gguf/metadata.ts';
import { poolingOf } from '../gguf/pooling.ts';
import { importanceMemory, measureImportance, unmeasuredImportance } from '../gguf/measure-importance.ts';
import { plannedTensors, requantizedNotices, type GgufPlan } from '../gguf/planned-tensors.ts';
import { layoutShards, type GgufShard } from '../gguf/shards.ts';
import { writeTensors, type TensorJob } from '../gguf/write-tensors.ts';
import { calibrationFacts } from '../walk-blocks.ts';

/** Of the process, the header and the vocabulary. */
const BASE_BYTES = 200e6;
/** Of a thread: two chunks of each of two tensors, with everything that a kernel needs for them. */
const THREAD_BYTES = 64e6;

/** The format `gguf`. */
export const gguf: ExportFormat = {
  name: 'gguf',
  summary: 'one file for llama.cpp, Ollama, LM Studio and node-llama-cpp',
  variants: MIXTURES.map(({ name }) => name),
  accepts: (variant) => mixtureOf(variant) !== undefined,
  output: 'file',
  readable: true,
  describe: (variant) => describeMixture(mixtureOf(variant)!),
  prepare: async (model, variant, request) => prepare(model, mixtureOf(variant)!, request),
};

function describeMixture({ name, base, pure }: Mixture): string {
  if (name === base)
    return pure === true ? `all matrices as ${base}, the output as q8_0` : `matrices as ${base}, vectors as f32`;
  return `llama.cpp's mixture ${name}, mostly ${base}`;
}

async function prepare(model: OpenModel, mixture: Mixture, request: ExportRequest): Promise<PreparedExport> {
  const { architecture, checkpoint, config } = model;
  const fromGguf = checkpoint.quantization?.method === 'gguf';
  // First, because it names what llama.cpp would compute otherwise.
  const metadata = await exportMetadata(model, request.name.replace(/\.gguf$/i, ''), mixture.fileType);
  const sources = fromGguf
    ? sortedByBlock(await withStoredConstants(ggufTensors(architecture), checkpoint.tensors))
    : ggufTensors(architecture);
  const file = request.importance === undefined ? undefined : await readImportance(request.importance);
  const types = chooseTypes(
    mixture,
    sources,
    {
      architecture: ggufFamily(config.modelType).architecture,
      layers: config.layers,
      heads: config.heads,
      keyValueHeads: config.keyValueHeads,
      experts: config.experts?.count ?? 0,
    },
    file !== undefined || request.calibration !== undefined,
  );
  const importance = file && fitImportance(file.imatrix, sources, types);
  const calibration = request.calibration && (await plannedCalibration(model, request, sources, types));
  const specs = sources.map(({ name, shape }) => ({ name, shape, type: types.get(name)?.type ?? ('f32' as const) }));
  const shards = layoutShards(request.name, metadata, specs, request.shardBytes);
  const placed = new Map(
    shards.flatMap(({ name, layout }) => layout.tensors.map((place) => [place.name, { place, file: name }])),
  );
  const copies = fromGguf ? copiesOf(model, specs) : new Map<string, CheckpointTensor>();
  const planned: GgufPlan = { sources, types, placed, copies };
  const fitted = importance ?? calibration?.fitted;
  const known = new Set([...copies.keys(), ...(fitted?.byTensor.keys() ?? [])]);
  return {
    files: shards.map(({ name }) => name),
    tensors: plannedTensors(model, planned),
    bytesAfter: shards.reduce((sum, { layout }) => sum + layout.byteLength, 0),
    dataBytes: [...placed.values()].reduce((sum, { place }) => sum + place.byteLength, 0),
    notices: [
      ...windowNotices(model),
      ...factorNotices(model),
      ...(fromGguf ? [] : (await poolingOf(model)).notices),
      ...headNotices(model),
      ...nextTokenNotices(model),
      ...fallbackNotices(types),
      ...(fitted?.notices ?? []),
      ...requantizedNotices(model, planned),
    ],
    problems: [
      ...(importance && calibration ? [TWO_IMPORTANCES] : []),
      ...(importance?.problems ?? []),
      ...(calibration?.fitted.problems ?? []),
      ...missingImportance(mixture.name, types, known, fitted !== undefined),
    ],
    options: {
      ...(request.shardBytes !== undefined && { shardBytes: request.shardBytes }),
      ...(file && { imatrix: file.facts }),
      ...(calibration && { calibration: calibration.facts }),
    },
    // The file as it is read, and its numbers.
    peakMemoryBytes: Math.max(
      BASE_BYTES + request.threads * THREAD_BYTES + 2 * (file?.facts.bytes ?? 0),
      calibration?.peakBytes ?? 0,
    ),
    write: async (context) => {
      const measured = calibration && { entries: await measureImportance(model, sources, request, context) };
      const fitted = measured ? fitImportance(measured, sources, types, '--calibration') : importance;
      return write(model, { shards, sources, copies, importance: fitted?.byTensor }, context);
    },
  };
}

const TWO_IMPORTANCES: PlanProblem = {
  code: 'OPTIONS_CONFLICT',
  name: 'importance',
  message: '--imatrix: importances are read or measured, --calibration is given, too; leave one of them out',
};

/** What a calibration will give: importances of the same tensors, before they are known. */
async function plannedCalibration(
  model: OpenModel,
  request: ExportRequest,
  sources: readonly GgufTensorSource[],
  types: ReadonlyMap<string, ChosenType>,
) {
  const fitted = fitImportance({ entries: unmeasuredImportance(model, sources) }, sources, types, '--calibration');
  const { peakBytes } = importanceMemory(model, request);
  return { fitted, peakBytes, facts: await calibrationFacts(request) };
}

/** Tensors that are kept as they are: those of the source in the very same type. */
function copiesOf(
  { checkpoint }: OpenModel,
  specs: readonly { name: string; type: string; shape: readonly number[] }[],
) {
  const copies = new Map<string, CheckpointTensor>();
  for (const { name, type, shape } of specs) {
    const tensor = checkpoint.tensors.get(name);
    if (tensor?.dtype === type && tensor.shape.join() === shape.join()) copies.set(name, tensor);
  }
  return copies;
}

/**
 * What a GGUF source holds beside weights (factors of the rotary embedding, biases of zeros) is carried over as it is: its metadata
 * is, too, and the two belong together.
 */
async function withStoredConstants(
  sources: readonly GgufTensorSource[],
  stored: ReadonlyMap<string, CheckpointTensor>,
): Promise<GgufTensorSource[]> {
  const weights = sources.filter(({ values }) => values === undefined);
  const known = new Set(weights.map(({ name }) => name));
  const constants = [...stored.values()].filter(({ name }) => !known.has(name) && !isSingleExpert(name));
  return [
    ...weights,
    ...(await Promise.all(
      constants.map(async ({ name, shape, dtype, source, byteLength }): Promise<GgufTensorSource> => {
        const values = restoreBlocks(dtype as GgmlTypeName, await source.read(0, byteLength));
        return { name, shape, parts: [], values };
      }),
    )),
  ];
}

function sortedByBlock(sources: readonly GgufTensorSource[]): GgufTensorSource[] {
  const block = (name: string): number => Number(/^blk\.(\d+)\./.exec(name)?.[1] ?? -1);
  return [...sources].sort((a, b) => block(a.name) - block(b.name) || (a.name < b.name ? -1 : 1));
}

interface Content {
  readonly shards: readonly GgufShard[];
  readonly sources: readonly GgufTensorSource[];
  readonly copies: ReadonlyMap<string, CheckpointTensor>;
  readonly importance: FittedImportance['byTensor'] | undefined;
}

async function write(
  { weights, checkpoint }: OpenModel,
  { shards, sources, copies, importance: importances }: Content,
  context: ExportContext,
): Promise<WrittenContent> {
  const { directory, pool, signal, progress } = context;
  const byName = new Map(sources.map((source) => [source.name, source]));
  const jobs: TensorJob[] = [];
  for (const { name, layout } of shards) {
    const path = join(directory, name);
    const file = await open(path, 'w');
    try {
      await file.write(layout.header, 0, layout.header.length, 0);
      await file.truncate(layout.byteLength);
    } finally {
      await file.close();
    }
    for (const place of layout.tensors) {
      const copy = copies.get(place.name);
      const importance = importances?.get(place.name);
      const source = byName.get(place.name)!;
      jobs.push({ source, place, path, ...(copy && { copy }), ...(importance && { importance }) });
    }
  }
  const run = { ...(signal && { signal }), ...(progress && { progress }) };
  const { errors, wrote, read, interventions } = await writeTensors(jobs, {
    pool,
    weights,
    stored: checkpoint.tensors,
    ...run,
  });
  const source = new Map(
    [...read].map(([name, { leafBytes, leaves }]) => [name, { leafBytes, sha256: treeHash(leaves) }]),
  );
  return { errors, source, interventions, ...(await hashes(shards, jobs, wrote, context)) };
}

/** Headers as they were written; tensors as they were written, or as they read back where they were not hashed on the way. */
async function hashes(
  shards: readonly GgufShard[],
  jobs: readonly TensorJob[],
  wrote: readonly (TensorLeaves | undefined)[],
  { pool, signal }: ExportContext,
) {
  const unknown = jobs.filter((_, i) => wrote[i] === undefined);
  const found = await runLeaves(
    pool,
    unknown.map(({ path, place }) => ({
      from: { path, offset: place.offset },
      byteLength: place.byteLength,
      leafBytes: LEAF_BYTES,
    })),
    signal ? { signal } : {},
  );
  const readBack = new Map(unknown.map((job, i) => [job, { leafBytes: LEAF_BYTES, leaves: found[i]! }]));
  const files = shards.map(({ name, layout }): FileHash => {
    return { name, bytes: layout.byteLength, hashedBytes: layout.header.length, sha256: sha256(layout.header) };
  });
  const fileOf = new Map(shards.flatMap(({ name, layout }) => layout.tensors.map((place) => [place.name, name])));
  const tensors = jobs.map((job, i): TensorHash => {
    const { name, type, shape, byteLength } = job.place;
    const { leafBytes, leaves } = wrote[i] ?? readBack.get(job)!;
    const file = fileOf.get(name)!;
    return { name, file, dtype: type, shape: [...shape], bytes: byteLength, leafBytes, sha256: treeHash(leaves) };
  });
  return { files, tensors };
}
