// The compiled programs of a calibration: one per block variant, batch size and set of reductions, made when first used.
import type { Device, HostTensor, Program } from '@pith/tensor-core';
import type { Architecture, BlockSpec } from '../architecture/architecture.ts';
import { attentionTensors } from '../architecture/attention-tensors.ts';
import { blockFeeds, compileBlock } from '../run/programs.ts';
import { blockInputs, programKey, restoredForms } from '../run/linear-form.ts';
import type { BlockForms } from '../run/linear-form.ts';
import { localName } from '../run/restore.ts';
import { outputNames } from './reduce-inputs.ts';
import type { StatisticPiece } from './statistic.ts';

/** What one run of a block gave. */
export interface BlockRunResult {
  /** f32 [batch, tokens, hidden]. */
  readonly output: Float32Array;
  /** Reductions by input group (`LinearSpec.inputGroup`): valid until the next run. */
  readonly reduced: ReadonlyMap<string, ReadonlyMap<StatisticPiece, readonly Float32Array[]>>;
}

/** Programs of one model at one window length. */
export class BlockPrograms {
  readonly #architecture: Architecture;
  readonly #tokens: number;
  readonly #device: Device;
  readonly #programs = new Map<string, Promise<Program>>();
  /** Reductions are written to the same arrays again and again. */
  readonly #buffers = new Map<string, HostTensor>();

  constructor(architecture: Architecture, tokens: number, device: Device) {
    this.#architecture = architecture;
    this.#tokens = tokens;
    this.#device = device;
  }

  /**
   * Runs a block on one batch.
   *
   * @param hidden f32 [batch, tokens, hidden].
   * @param weights The block's weights by checkpoint name, of a factored one the two factors (see `storedInputs`).
   * @param wanted Reductions by input group.
   * @param into Receives the output; a new array when left out.
   */
  async run(
    block: BlockSpec,
    batch: number,
    hidden: Float32Array,
    weights: ReadonlyMap<string, HostTensor<'f32'>>,
    wanted: ReadonlyMap<string, readonly StatisticPiece[]>,
    into?: Float32Array,
  ): Promise<BlockRunResult> {
    const local = new Map([...wanted].map(([group, pieces]) => [group.slice(block.path.length + 1), pieces]));
    const forms = restoredForms(block, weights);
    const program = await this.#program(block, batch, forms, local);
    const names = blockInputs(block, forms).map(({ name }) => name);
    const { hiddenSize } = this.#architecture.config;
    const shape = { batch, tokens: this.#tokens, past: 0 };
    const hiddenShape = [batch, this.#tokens, hiddenSize];
    const targets: Record<string, HostTensor> = into
      ? { output: { dtype: 'f32', shape: hiddenShape, data: into } }
      : {};
    for (const [name, type] of Object.entries(program.outputs)) {
      if (name !== 'output') targets[name] = this.#buffer(name, type.shape);
    }
    const feeds = {
      ...attentionTensors(this.#architecture, block, shape, 0),
      ...blockFeeds(Object.fromEntries(names.map((name) => [localName(block, name), weights.get(name)!]))),
      hidden: { dtype: 'f32' as const, shape: hiddenShape, data: hidden },
    };
    const outputs = await program.run(feeds, targets);
    const widths = new Map(block.linears.map(({ inputGroup, inFeatures }) => [inputGroup, inFeatures]));
    const reduced = new Map(
      [...wanted].map(([group, pieces]) => {
        const localGroup = group.slice(block.path.length + 1);
        const values = pieces.map((piece) => {
          const outputsOf = outputNames(localGroup, piece, widths.get(group) ?? 1);
          return [piece, outputsOf.map((name) => outputs[name].data as Float32Array)] as const;
        });
        return [group, new Map(values)];
      }),
    );
    return { output: outputs['output'].data as Float32Array, reduced };
  }

  /** Frees the programs. */
  async dispose(): Promise<void> {
    for (const program of this.#programs.values()) await (await program).dispose();
    this.#programs.clear();
    this.#buffers.clear();
  }

  #buffer(name: string, shape: readonly number[]): HostTensor {
    const key = `${name} ${shape.join()}`;
    let buffer = this.#buffers.get(key);
    if (buffer === undefined) {
      buffer = { dtype: 'f32', shape, data: new Float32Array(shape.reduce((a, b) => a * b, 1)) };
      this.#buffers.set(key, buffer);
    }
    return buffer;
  }

  #program(
    block: BlockSpec,
    batch: number,
    forms: BlockForms,
    wanted: ReadonlyMap<string, readonly StatisticPiece[]>,
  ): Promise<Program> {
    const key = JSON.stringify([programKey(block, forms), batch, [...wanted]]);
    let program = this.#programs.get(key);
    if (program === undefined) {
      const shape = { batch, tokens: this.#tokens, past: 0 };
      program = compileBlock(this.#architecture, block, { device: this.#device, shape, forms, wanted });
      this.#programs.set(key, program);
    }
    return program;
  }
}
