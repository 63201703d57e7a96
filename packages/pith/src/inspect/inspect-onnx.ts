// What an ONNX file holds, or a directory of such as Pith and others export them (`onnx/model*.onnx` beside config.json). The model's
// message is read, of files of tensors their length alone; nothing is run.
import { stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { parseJsonObject, type StoredFile } from '@pith/checkpoint';
import { directoryStore } from '@pith/checkpoint/node';
import {
  ONNX_LIMITS,
  PithError,
  readOnnxTensors,
  throwIfStopped,
  type OnnxContents,
  type OnnxPort,
  type OnnxQuantizedNode,
  type RunOptions,
} from '@pith/tensor-core';
import { describeModel } from './describe-model.ts';
import { kindWords } from './kind-words.ts';
import type { InspectedTensor, Inspection } from './inspect.ts';

/** Nodes that round or restore, of one kind. */
export interface InspectedOnnxQuantization {
  /** Operator, `domain:operator` outside of the default domain. */
  readonly operator: string;
  /** Bits of a code; null where the model does not say. */
  readonly bits: number | null;
  /** Values that share a scale along a row; null for one scale for a row or for all. */
  readonly blockSize: number | null;
  /** How many there are. */
  readonly nodes: number;
}

/** One ONNX model. */
export interface InspectedOnnx {
  /** Path from the directory that was named, or the name of the file. */
  readonly file: string;
  /** Bytes of the model and of its files of tensors. */
  readonly bytes: number;
  /** Names of the files of tensors, in the directory of the model. */
  readonly tensorFiles: readonly string[];
  /** Version of the container format. */
  readonly irVersion: number;
  /** Operator sets by domain, `ai.onnx` for the default one. */
  readonly opsets: Readonly<Record<string, number>>;
  /** What wrote the model; empty where it does not say. */
  readonly producer: string;
  /** Inputs with the lengths or names of their axes. */
  readonly inputs: readonly OnnxPort[];
  /** Outputs. */
  readonly outputs: readonly OnnxPort[];
  /** All nodes. */
  readonly nodes: number;
  /** Nodes by operator, the most frequent first. */
  readonly operators: Readonly<Record<string, number>>;
  /** Nodes that round or restore, by kind. */
  readonly quantized: readonly InspectedOnnxQuantization[];
}

/** Folder in which transformers.js looks for models. */
const FOLDER = 'onnx';
/** Most bytes of a config.json that lies beside a model. */
const CONFIG_BYTES = 16 * 2 ** 20;

/**
 * True for an .onnx file, and for a directory without safetensors that has such, by itself or in its folder `onnx`.
 */
export async function isOnnxPlace(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  if (found?.isFile() === true) return path.toLowerCase().endsWith('.onnx');
  if (found?.isDirectory() !== true) return false;
  const { models, hasSafetensors } = await modelsOf(path);
  return models.length > 0 && !hasSafetensors;
}

/**
 * Reads the models.
 *
 * @param path .onnx file or directory.
 * @throws PithError those of `readOnnxTensors`; `CHECKPOINT_FILE_MISSING` for a file of tensors that is not there,
 * `ONNX_EXTERNAL_RANGE` for one that ends before its tensors do, `CHECKPOINT_LINK_LEAVES`, `CONFIG_INVALID`.
 */
export async function inspectOnnx(path: string, { signal }: RunOptions = {}): Promise<Inspection> {
  const isFile = (await stat(path)).isFile();
  const root = isFile ? dirname(path) : path;
  const { models, files } = isFile ? { models: [basename(path)], files: [] } : await modelsOf(path);
  const parts: OnnxParts[] = [];
  for (const file of models) {
    throwIfStopped(signal, 'inspect');
    parts.push(await readOne(root, file));
  }
  const config = await configBeside(isFile && basename(root) === FOLDER ? [root, dirname(root)] : [root]);
  const model = config === undefined ? null : await describeModel(config);
  const tensors = parts.flatMap((part) => part.tensors);
  const sizes = new Map(parts.flatMap((part) => [...part.sizes]));
  const name = config?.['model_type'];
  return {
    architecture: typeof name === 'string' ? name : 'unknown',
    supported: model !== null,
    // Models of one directory are the same weights in several forms.
    parameters: parts[0]?.parameters ?? 0,
    bytes: [...sizes.values()].reduce((sum, bytes) => sum + bytes, 0),
    tensors,
    dtypes: bytesByType(tensors),
    model,
    quantization: quantizationWords(parts),
    files: [
      ...files.map(({ name: file, byteLength }) => ({ name: file, bytes: byteLength, role: 'other' })),
      ...[...sizes].map(([file, bytes]) => ({ name: file, bytes, role: 'weights' })),
    ],
    onnx: parts.map((part) => part.onnx),
  };
}

interface OnnxParts {
  readonly onnx: InspectedOnnx;
  readonly tensors: readonly InspectedTensor[];
  readonly parameters: number;
  /** Bytes of the model's files by path from the root. */
  readonly sizes: ReadonlyMap<string, number>;
}

/** Models of a directory by their paths in it, and its files at the top. */
async function modelsOf(directory: string) {
  const store = await directoryStore(directory);
  const listed = await store.list();
  const isModel = ({ kind, name }: StoredFile): boolean => kind === 'file' && name.toLowerCase().endsWith('.onnx');
  const models = listed.filter(isModel).map(({ name }) => name);
  if (listed.some(({ kind, name }) => kind === 'directory' && name === FOLDER)) {
    const inner = await (await directoryStore(join(directory, FOLDER))).list();
    models.push(...inner.filter(isModel).map(({ name }) => `${FOLDER}/${name}`));
  }
  const files = listed.filter(({ kind, name }) => kind === 'file' && !name.includes('.onnx'));
  return { models, files, hasSafetensors: listed.some(({ name }) => name.endsWith('.safetensors')) };
}

async function readOne(root: string, file: string): Promise<OnnxParts> {
  const folder = dirname(file);
  const placed = (name: string): string => (folder === '.' ? name : `${folder}/${name}`);
  const store = await directoryStore(join(root, folder));
  let contents: OnnxContents;
  const sizes = new Map<string, number>();
  try {
    const source = await store.open(basename(file));
    if (source.byteLength > ONNX_LIMITS.bytes) {
      throw new PithError(
        'ONNX_TOO_LARGE',
        `read ${file}: a model may have at most ${ONNX_LIMITS.bytes} bytes, got ${source.byteLength}`,
        { details: { file, byteLength: source.byteLength } },
      );
    }
    contents = readOnnxTensors(await source.read(0, source.byteLength), file);
    sizes.set(file, source.byteLength);
  } finally {
    await store.close();
  }
  const named = [...new Set(contents.tensors.flatMap((tensor) => tensor.file ?? []))];
  for (const name of named) {
    const own = await directoryStore(join(root, folder, dirname(name)));
    sizes.set(placed(name), (await stat(await own.path(basename(name)))).size);
  }
  for (const { name, file: at, offset, byteLength } of contents.tensors) {
    const size = at === null ? Infinity : sizes.get(placed(at))!;
    if (offset + byteLength <= size) continue;
    throw new PithError(
      'ONNX_EXTERNAL_RANGE',
      `read ${file}: tensor ${name}: its bytes end at ${offset + byteLength}, ${at} has ${size}; get the file again`,
      { details: { file, tensor: name, external: at, end: offset + byteLength, byteLength: size } },
    );
  }
  const { inputs, outputs, operators, irVersion, opsets, producer } = contents;
  const ordered = Object.entries(operators).sort(([, a], [, b]) => b - a);
  return {
    onnx: {
      file,
      bytes: [...sizes.values()].reduce((sum, bytes) => sum + bytes, 0),
      tensorFiles: named,
      irVersion,
      opsets: { ...opsets },
      producer,
      inputs,
      outputs,
      nodes: ordered.reduce((sum, [, count]) => sum + count, 0),
      operators: Object.fromEntries(ordered),
      quantized: kindsOf(contents),
    },
    tensors: contents.tensors.map(({ name, dtype, shape, byteLength, file: at }) => ({
      name,
      dtype,
      shape,
      bytes: byteLength,
      file: at === null ? file : placed(at),
    })),
    parameters: parametersOf(contents),
    sizes,
  };
}

/** Bits of the codes that a node reads: its own attribute, or those of the tensor's type. */
function bitsOf({ bits, codes }: OnnxQuantizedNode, types: ReadonlyMap<string, string>): number | null {
  if (bits !== null) return bits;
  const digits = /^[iu](\d+)$/.exec(types.get(codes) ?? '');
  return digits === null ? null : Number(digits[1]);
}

function kindsOf({ quantized, tensors }: OnnxContents): InspectedOnnxQuantization[] {
  const types = new Map(tensors.map(({ name, dtype }) => [name, dtype]));
  const kinds = new Map<string, InspectedOnnxQuantization>();
  for (const node of quantized) {
    const { operator, blockSize } = node;
    const bits = bitsOf(node, types);
    const key = JSON.stringify([operator, bits, blockSize]);
    kinds.set(key, { operator, bits, blockSize, nodes: (kinds.get(key)?.nodes ?? 0) + 1 });
  }
  return [...kinds.values()].sort((a, b) => b.nodes - a.nodes);
}

/** Scales and zero points of codes by the endings that exporters give them, for tables that plain nodes look up. */
const BESIDE_CODES = /_(?:scales?|zp|zero_points?)$/;

/** Values of all weights: codes as many as they stand for, scales and zero points not counted. */
function parametersOf({ tensors, quantized }: OnnxContents): number {
  const beside = new Set(quantized.flatMap(({ scales, zeroPoints }) => [scales, zeroPoints]));
  const packed = new Map(
    quantized.flatMap(({ codes, shape }) => (shape ? [[codes, shape[0] * shape[1]] as const] : [])),
  );
  const named = new Set(tensors.map(({ name }) => name));
  const isScale = (name: string): boolean => {
    const stem = name.replace(BESIDE_CODES, '');
    return stem !== name && ['_Q8', '_Q4', '_quantized'].some((ending) => named.has(stem + ending));
  };
  let sum = 0;
  for (const { name, shape, dtype } of tensors) {
    // Shapes, axes and indices of nodes.
    if (dtype === 'i64' || dtype === 'i32' || dtype === 'bool' || beside.has(name) || isScale(name)) continue;
    sum += packed.get(name) ?? shape.reduce((size, length) => size * length, 1);
  }
  return sum;
}

function quantizationWords(parts: readonly OnnxParts[]): string | null {
  const words = parts.flatMap(({ onnx: { quantized } }) => quantized.map(kindWords));
  return words.length === 0 ? null : `ONNX ${[...new Set(words)].join('; ')}`;
}

async function configBeside(directories: readonly string[]) {
  for (const directory of directories) {
    const store = await directoryStore(directory);
    try {
      if (!(await store.list()).some(({ name, kind }) => name === 'config.json' && kind === 'file')) continue;
      const source = await store.open('config.json');
      const bytes = await source.read(0, Math.min(source.byteLength, CONFIG_BYTES + 1));
      return parseJsonObject(bytes, { operation: 'inspect', file: join(directory, 'config.json'), codes: 'CONFIG' });
    } finally {
      await store.close();
    }
  }
  return undefined;
}

function bytesByType(tensors: readonly InspectedTensor[]): Record<string, number> {
  const sums = new Map<string, number>();
  for (const { dtype, bytes } of tensors) sums.set(dtype, (sums.get(dtype) ?? 0) + bytes);
  return Object.fromEntries([...sums].sort(([, a], [, b]) => b - a));
}
