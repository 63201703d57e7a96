// A directory for transformers.js, ONNX Runtime and, where the model is a decoder, onnxruntime-genai: onnx/model*.onnx with its
// tensors in files beside it, config, tokenizer, and the config of onnxruntime-genai.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { printJson, setMembers } from '@pith/checkpoint';
import {
  buildOnnx,
  genaiConfig,
  INLINE_BYTES,
  ONNX_CHUNK_BYTES,
  placeTensors,
  TRANSFORMERS_JS_DTYPES,
  transformersJsConfig,
  type OnnxPlan,
  type MatrixStorage,
  type OnnxRound,
  type OnnxStoredWeight,
  type StaticInputs,
  type TensorPlaces,
} from '@pith/model';
import { writeOnnx, type OpenModel } from '@pith/model/node';
import { exportBytes, type ActivationQuantization, type StoredPlace, type WeightTensor } from '@pith/tensor-core';
import type { PlannedTensor, PlanProblem } from '../../plan/types.ts';
import { carriedFiles } from '../../source/carried-files.ts';
import type { ExportContext, ExportFormat, ExportRequest, PreparedExport } from '../format.ts';
import { inputsMemory, measureInputs } from '../onnx/measure-inputs.ts';
import { roundWeight } from '../onnx/round-weight.ts';
import { describeVariant, ONNX_VARIANTS, parseVariant, type OnnxVariant } from '../onnx/variant.ts';
import { unusedOptions } from '../unused-options.ts';
import { calibrationFacts } from '../walk-blocks.ts';

/** Where transformers.js looks for models. */
const FOLDER = 'onnx';
/** Panels of a matrix that is turned round, pieces of a weight, the process itself. */
const WORKING_BYTES = 600e6;

/** The format `onnx`. */
export const onnx: ExportFormat = {
  name: 'onnx',
  summary: 'a directory for transformers.js, ONNX Runtime and onnxruntime-genai',
  variants: ONNX_VARIANTS,
  accepts: (variant) => parseVariant(variant) !== undefined,
  output: 'directory',
  readable: false,
  describe: describeVariant,
  prepare: (model, variant, request) => prepare(model, parseVariant(variant)!, request),
};

async function prepare(model: OpenModel, variant: OnnxVariant, request: ExportRequest): Promise<PreparedExport> {
  const { shardBytes: chunkBytes = ONNX_CHUNK_BYTES } = request;
  const file = `model${TRANSFORMERS_JS_DTYPES[variant.format].suffix}.onnx`;
  // Sizes and nodes do not depend on the scales that calibration finds.
  const unknown = variant.isStatic ? inputsWithoutScales(model) : [];
  const placeholder: StaticInputs = new Map(unknown.map((name) => [name, SOME_SCALE]));
  const plan = buildOnnx(model, { ...variant.storage, inputs: placeholder });
  const groups = plan.weights.map(({ group }) => group);
  const places = placeTensors(
    groups.flatMap(({ tensors }) => tensors),
    { file, inlineBytes: Math.min(INLINE_BYTES, chunkBytes), chunkBytes },
  );
  const modelBytes = plan.builder.toBytes((name) => placeOf(places, name)).length;
  const calibrates = unknown.length > 0;
  const problems = unusedOptions('this variant', request, calibrates ? ['importance'] : ['importance', 'calibration']);
  if (calibrates && request.calibration === undefined) problems.push(CALIBRATION_MISSING);
  const isCalibrated = calibrates && request.calibration !== undefined;
  const walkBytes = isCalibrated ? inputsMemory(model, request).peakBytes : 0;
  return {
    tensors: plannedTensors(model, plan),
    bytesAfter: modelBytes + places.files.reduce((sum, { byteLength }) => sum + byteLength, 0),
    dataBytes: places.dataBytes,
    notices: noticesOf(plan),
    problems,
    options: {
      chunkBytes,
      ...(isCalibrated && { calibration: await calibrationFacts(request) }),
    },
    peakMemoryBytes: Math.max(WORKING_BYTES + Math.max(0, ...plan.weights.map(roundingBytes)), walkBytes),
    async write(context) {
      const inputs = calibrates
        ? await measureInputs(model, request, context)
        : new Map<string, ActivationQuantization>();
      const round: OnnxRound = (weight, rounding) => roundWeight(weight, rounding, context.pool);
      const final = buildOnnx(model, { ...variant.storage, inputs, round });
      await write(model, variant, { file, places, plan: final }, context);
      return {};
    },
  };
}

/** Stands for a scale that is not known yet. */
const SOME_SCALE: ActivationQuantization = {
  kind: 'tensor-static',
  dtype: 'i8',
  symmetric: false,
  scale: 1,
  zeroPoint: 0,
};

const CALIBRATION_MISSING: PlanProblem = {
  code: 'CALIBRATION_MISSING',
  name: 'calibration',
  message:
    '--calibration: scales of inputs are measured on a text; name one, or choose onnx:int8, whose scales are found while it runs',
};

/** Linears of the blocks whose weights say nothing of a static scale of their inputs. */
function inputsWithoutScales({ architecture, weights }: OpenModel): string[] {
  const linears = architecture.blocks.flatMap((block) => block.linears);
  return linears.map(({ name }) => name).filter((name) => !hasStaticScale(weights.get(name)));
}

function hasStaticScale(weight: WeightTensor | undefined): boolean {
  return weight?.kind === 'quantized' && weight.activations?.kind === 'tensor-static';
}

/** Where a tensor lies; zeros of its length for one inside the model. */
function placeOf({ isInline, places }: TensorPlaces, name: string): StoredPlace {
  const place = places.get(name)!;
  return isInline ? new Uint8Array(place.byteLength) : place;
}

async function write(
  model: OpenModel,
  { format }: OnnxVariant,
  { file, places, plan }: { readonly file: string; readonly places: TensorPlaces; readonly plan: OnnxPlan },
  { directory, signal, progress }: ExportContext,
): Promise<void> {
  await mkdir(join(directory, FOLDER));
  const groups = plan.weights.map(({ group }) => group);
  const output = { file, builder: plan.builder, groups, places };
  await writeOnnx(join(directory, FOLDER), output, { ...(signal && { signal }), ...(progress && { progress }) });
  for (const [name, content] of Object.entries(await carriedFiles(model.checkpoint))) {
    await writeFile(join(directory, name), content);
  }
  const { config, configText } = model.checkpoint;
  const text = setMembers(configText, {
    quantization_config: undefined,
    compression_config: undefined,
    'transformers.js_config': transformersJsConfig(format, file, places.files.length, model.config.kind),
  });
  await writeFile(join(directory, 'config.json'), text);
  // onnxruntime-genai generates text.
  if (model.config.kind === 'encoder') return;
  const pad = config['pad_token_id'];
  const genai = genaiConfig(model, `${FOLDER}/${file}`, typeof pad === 'number' && pad >= 0 ? pad : null);
  await writeFile(join(directory, 'genai_config.json'), `${printJson(genai)}\n`);
}

function plannedTensors({ weights }: OpenModel, plan: OnnxPlan): PlannedTensor[] {
  const stored = new Map<string, OnnxStoredWeight[]>();
  for (const weight of plan.weights)
    stored.set(weight.group.source, [...(stored.get(weight.group.source) ?? []), weight]);
  return [...weights.values()].map((weight): PlannedTensor => {
    const parts = factorsOf(weight).flatMap((name) => stored.get(name) ?? []);
    const bytesBefore = weight.byteLength;
    const [first] = parts;
    if (first === undefined) {
      const reason = 'left out: the output projection is the token embedding, or the model does not read it';
      return { name: weight.name, action: 'omit', reason, bytesBefore, bytesAfter: 0 };
    }
    const tensors = parts.flatMap(({ group }) => group.tensors);
    const bytesAfter = tensors.reduce((sum, { dtype, dims }) => sum + exportBytes(dtype, dims), 0);
    return { name: weight.name, action: actionOf(first), reason: reasonOf(first), bytesBefore, bytesAfter };
  });
}

function factorsOf(weight: WeightTensor): string[] {
  return weight.kind === 'factored' ? [weight.name, weight.right.name, weight.left.name] : [weight.name];
}

function actionOf({ storage, keepsCodes }: OnnxStoredWeight): string {
  if (keepsCodes) return 'keep';
  return storage.kind === 'float' ? 'convert' : 'quantize';
}

function reasonOf({ storage, keepsCodes }: OnnxStoredWeight): string {
  if (storage.kind === 'float') return `as ${storage.dtype}`;
  return `${keepsCodes ? 'codes kept' : 'rounded to nearest'}: ${storageWords(storage)}`;
}

function storageWords(storage: Exclude<MatrixStorage, { kind: 'float' }>): string {
  if (storage.kind === 'channels') return '8 bits, a scale for each row';
  return `${storage.bits} bits, blocks of ${storage.blockSize}${storage.symmetric ? '' : ', asymmetric'}`;
}

function noticesOf({ weights }: OnnxPlan): string[] {
  const again = weights.filter(
    ({ source, storage, keepsCodes }) => source === 'quantized' && storage.kind !== 'float' && !keepsCodes,
  );
  if (again.length === 0) return [];
  return [
    `${again.length} weights are quantized already and are rounded a second time, because their codes do not fit: ` +
      `${again
        .slice(0, 3)
        .map(({ name }) => name)
        .join(', ')}${again.length > 3 ? ', ...' : ''}`,
  ];
}

/** Codes and scales of a weight that is rounded lie in memory until they are written. */
function roundingBytes({ storage, keepsCodes, group }: OnnxStoredWeight): number {
  if (storage.kind === 'float' || keepsCodes) return 0;
  const bytes = group.tensors.reduce((sum, { dtype, dims }) => sum + exportBytes(dtype, dims), 0);
  return storage.kind === 'blocks' && storage.bits === 4 ? 2 * bytes : bytes;
}
