// Gradients that wait in an activation store until the runner gets to their block.
import type { BlockSpec, LinearSpec } from '../architecture/architecture.ts';
import type { LanguageModel } from '../language-model.ts';
import type { ActivationStore } from './activations.ts';
import { backward, type GradientOptions } from './collect-gradients.ts';
import type { BlockPass } from './pass.ts';
import type { GradientNeeds, GradientStatistic, WeightGradient } from './weight-gradient.ts';
import { batchWindows } from './window-batches.ts';

/** What passes want of the gradients, together. */
export function gradientNeeds(passes: readonly Pick<BlockPass, 'needsGradients'>[]): GradientNeeds {
  return (linear) => [...new Set(passes.flatMap(({ needsGradients }) => [...(needsGradients?.(linear) ?? [])]))];
}

/** The gradients of all blocks, kept in a store. */
export class KeptGradients {
  readonly #store: ActivationStore;
  readonly #wanted: GradientNeeds;
  readonly #windows: number;

  private constructor(store: ActivationStore, wanted: GradientNeeds, windows: number) {
    this.#store = store;
    this.#wanted = wanted;
    this.#windows = windows;
  }

  /** Runs the model forwards and backwards and keeps what is wanted. */
  static async collect(
    model: LanguageModel,
    store: ActivationStore,
    options: Omit<GradientOptions, 'onBlock' | 'activations'>,
  ): Promise<KeptGradients> {
    const { windows, wanted } = options;
    await backward(model, batchWindows(windows, 1), store, {
      ...options,
      onBlock: async (_, gradients) => {
        for (const [name, { mean, squares }] of gradients) {
          if (mean) await store.write(keptKey(name, 'mean'), mean);
          if (squares) await store.write(keptKey(name, 'squares'), squares);
        }
      },
    });
    return new KeptGradients(store, wanted, windows.length);
  }

  /** Reads those of some linears, by checkpoint name of the weight. */
  async of(linears: readonly LinearSpec[]): Promise<Map<string, WeightGradient>> {
    const gradients = new Map<string, WeightGradient>();
    for (const linear of linears) {
      const kinds = this.#wanted(linear);
      if (kinds.length === 0) continue;
      const values: Partial<Record<GradientStatistic, Float32Array>> = {};
      for (const kind of kinds) values[kind] = (await this.#store.read(keptKey(linear.name, kind))).slice();
      gradients.set(linear.name, { windows: this.#windows, ...values });
    }
    return gradients;
  }

  /** Forgets those of a block. */
  async drop(block: BlockSpec): Promise<void> {
    for (const linear of block.linears) {
      for (const kind of this.#wanted(linear)) await this.#store.drop(keptKey(linear.name, kind));
    }
  }
}

const keptKey = (name: string, kind: GradientStatistic) => `gradient.${kind}.${name}`;
