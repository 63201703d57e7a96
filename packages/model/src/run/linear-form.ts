// How the linears of a block run: what stands in for the plain product. A block program is made for the forms of its
// linears; blocks of one variant whose forms agree share a program.
import { factorNames } from '@pith/tensor-core';
import type { ActivationQuantization, HostTensor, WeightTensor } from '@pith/tensor-core';
import type { BlockSpec } from '../architecture/architecture.ts';
import { blockTensors } from '../architecture/expected-tensors.ts';
import type { ExpectedTensor, Shaped } from '../architecture/expected-tensors.ts';
import { hasStaticScale, type ActivationForm } from './fake-activations.ts';
import type { KeyValueForm } from './key-value-form.ts';

/** One product with the restored weight. */
export interface DenseForm {
  /** Tells the union apart. */
  readonly kind: 'dense';
  /** How the input is rounded before; not at all when left out. */
  readonly activations?: ActivationForm;
}

/** Two products: first with the right factor [rank, in], then with the left one [out, rank]. */
export interface FactoredForm {
  /** Tells the union apart. */
  readonly kind: 'factored';
  /** Features between the two. */
  readonly rank: number;
  /** How the inputs of both products are rounded before; not at all when left out. */
  readonly activations?: ActivationForm;
}

/** How one linear runs. */
export type LinearForm = DenseForm | FactoredForm;

/** The forms of a block's linears by path relative to the block, in the order of the table. Linears that are left out are dense. */
export type BlockForms = ReadonlyMap<string, LinearForm>;

/** Forms of a block whose linears are all dense. */
export const DENSE_FORMS: BlockForms = new Map();

/** The forms that the stored weights of a block ask for. */
export function blockForms(block: BlockSpec, weights: ReadonlyMap<string, WeightTensor>): BlockForms {
  const forms = new Map<string, LinearForm>();
  for (const { path, name } of block.linears) {
    const weight = weights.get(name);
    const activations = activationForm(activationsOf(weight));
    const local = path.slice(block.path.length + 1);
    if (weight?.kind === 'factored') {
      forms.set(local, { kind: 'factored', rank: weight.rank, ...(activations && { activations }) });
    } else if (activations) {
      forms.set(local, { kind: 'dense', activations });
    }
  }
  return forms;
}

/** How a runtime rounds the inputs of a linear; undefined where it does not. */
export function activationsOf(weight: WeightTensor | undefined): ActivationQuantization | undefined {
  const reading = weight?.kind === 'factored' ? weight.right : weight;
  return reading?.kind === 'quantized' ? reading.activations : undefined;
}

function activationForm(activations: ActivationQuantization | undefined): ActivationForm | undefined {
  if (activations === undefined) return undefined;
  const { kind, dtype, symmetric } = activations;
  if (kind !== 'group-dynamic') return { kind, dtype, symmetric };
  const { size, scaleDType } = activations;
  return { kind, dtype, symmetric, size, scaleDType };
}

/** Names of the static scale of a linear's inputs and of its zero point, as compressed-tensors has them. */
export function inputScaleNames(path: string) {
  return { scale: `${path}.input_scale`, zeroPoint: `${path}.input_zero_point` };
}

/** Static scales of a block's inputs with their zero points, f32 [1] each, by the names of {@link blockInputs}. */
export function staticScales(
  block: BlockSpec,
  weights: ReadonlyMap<string, WeightTensor>,
): Record<string, HostTensor<'f32'>> {
  const tensors: Record<string, HostTensor<'f32'>> = {};
  for (const { path, name } of block.linears) {
    const activations = activationsOf(weights.get(name));
    const scale = staticScale(activations);
    if (activations === undefined || scale === undefined) continue;
    const names = inputScaleNames(path.slice(block.path.length + 1));
    tensors[names.scale] = { dtype: 'f32', shape: [1], data: Float32Array.of(scale) };
    if (activations.kind !== 'tensor-static' || activations.symmetric) continue;
    tensors[names.zeroPoint] = { dtype: 'f32', shape: [1], data: Float32Array.of(activations.zeroPoint) };
  }
  return tensors;
}

/** What calibration found for the inputs: a static scale, or a global one. */
function staticScale(activations: ActivationQuantization | undefined): number | undefined {
  if (activations?.kind === 'tensor-static') return activations.scale;
  return activations?.kind === 'group-dynamic' ? activations.globalScale : undefined;
}

/** The forms of restored weights: a linear of which there are two factors and no whole weight runs as two products. */
export function restoredForms(block: BlockSpec, tensors: ReadonlyMap<string, Shaped>): BlockForms {
  const forms = new Map<string, LinearForm>();
  for (const { path, name } of block.linears) {
    const right = tensors.get(factorNames(name).right);
    if (right && !tensors.has(name)) {
      forms.set(path.slice(block.path.length + 1), { kind: 'factored', rank: right.shape[0] });
    }
  }
  return forms;
}

/** The same for blocks that run the same program. */
export function programKey(block: BlockSpec, forms: BlockForms, kept?: KeyValueForm | null): string {
  return JSON.stringify([block.variant, ...forms, ...(kept ? [kept.dtype, kept.granularity] : [])]);
}

/** The tensors that a block's program takes, by checkpoint name: two in the place of a factored weight, static scales of inputs last. */
export function blockInputs(block: BlockSpec, forms: BlockForms): ExpectedTensor[] {
  const factored = new Map(
    block.linears.flatMap((linear) => {
      const form = forms.get(linear.path.slice(block.path.length + 1));
      return form?.kind === 'factored' ? [[linear.name, { ...linear, rank: form.rank }]] : [];
    }),
  );
  const scales = block.linears.flatMap(({ path }): ExpectedTensor[] => {
    const form = forms.get(path.slice(block.path.length + 1));
    if (form?.activations === undefined || !hasStaticScale(form.activations)) return [];
    const { scale, zeroPoint } = inputScaleNames(path);
    return [
      { name: scale, shape: [1] },
      // Without zero points the program does not read it, and an input that nothing reads is none.
      ...(form.activations.symmetric ? [] : [{ name: zeroPoint, shape: [1] }]),
    ];
  });
  const weights = blockTensors(block).flatMap((tensor) => {
    const linear = factored.get(tensor.name);
    if (linear === undefined) return [tensor];
    const { left, right } = factorNames(tensor.name);
    return [
      { name: right, shape: [linear.rank, linear.inFeatures] },
      { name: left, shape: [linear.outFeatures, linear.rank] },
    ];
  });
  return [...weights, ...scales];
}

/** The stored tensors of a block that are restored for its program, by the names of {@link blockInputs}. */
export function storedInputs(block: BlockSpec, weights: ReadonlyMap<string, WeightTensor>): [string, WeightTensor][] {
  return blockTensors(block).flatMap(({ name }): [string, WeightTensor][] => {
    const weight = weights.get(name)!;
    if (weight.kind !== 'factored') return [[name, weight]];
    const { left, right } = factorNames(name);
    return [
      [right, weight.right],
      [left, weight.left],
    ];
  });
}

/** Bytes that the weights of a block take as f32. */
export function blockBytes(block: BlockSpec, forms: BlockForms = DENSE_FORMS): number {
  return 4 * blockInputs(block, forms).reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
}
