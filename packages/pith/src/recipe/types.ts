// What a recipe is, as a type: the options of the technique packages under the names of kinds of stages.
import type { DistillOptions } from '@pith/distill';
import type { DecomposeOptions, FactorizeOptions } from '@pith/lowrank';
import type { GradualOptions, IterativeOptions, PruneOptions, StructureOptions } from '@pith/prune';
import type {
  AwqOptions,
  GptqOptions,
  HqqOptions,
  KvCacheOptions,
  QatOptions,
  RtnPassOptions,
  SmoothQuantOptions,
} from '@pith/quant';

/** The text that calibrated methods look at. */
export interface CalibrationOptions {
  /** Text file in UTF-8, or a `.json` file with a list of token ids. */
  readonly text: string;
  /** Windows to calibrate on; 128 when left out. */
  readonly samples?: number;
  /** Positions of a window, BOS included; 512 when left out, or what the model has. */
  readonly context?: number;
  /** Which windows of the text: the first (when left out), or a choice by the seed. */
  readonly choose?: 'first' | 'random';
  /** Whether a block sees what the compressed blocks before it give (when left out), or what the original ones gave. */
  readonly inputs?: 'compressed' | 'original';
  /** Linears of a block are rewritten from one collection (`block`, when left out), or group by group (`groups`). */
  readonly order?: 'block' | 'groups';
}

/** The text that quality is measured on. */
export interface EvaluationOptions {
  /** Text file in UTF-8, or a `.json` file with a list of token ids. */
  readonly text: string;
  /** Positions of a window, BOS included; 512 when left out. */
  readonly context?: number;
}

/** The text that methods train on. */
export interface TrainingText extends EvaluationOptions {
  /** Windows; all of the text when left out. */
  readonly samples?: number;
}

/** Options of which some may be left to the budget of the recipe. */
export type Fitted<T, K extends PropertyKey> = T extends unknown
  ? Omit<T, K> & {
      /** The option itself, or `fit`: the gentlest value with which the artefact keeps within `Recipe.budget`. */
      readonly [P in K & keyof T]?: Exclude<T[P], undefined> | 'fit';
    }
  : never;

/** Options whose scheme and range are given by their names. */
export type NamedCoding<T> = Omit<T, 'scheme' | 'range'> & {
  /** Bits, group size and kind of the codes: `w4g128`; `fit` for what the budget of the recipe allows. */
  readonly scheme: string;
  /** How the range of the codes is found: `mse`. */
  readonly range?: string;
};

/** What a stage of kind `prune` does. */
export type PruneStage =
  | (Omit<PruneOptions, 'rounding'> & {
      /** Of sparsegpt: quantizes what stays in the same sweep, as gptq does. */
      readonly quantize?: NamedCoding<GptqOptions>;
    })
  | ({
      /** Whole layers, neurons, key-value groups, experts. */
      readonly method: 'structure';
    } & Fitted<StructureOptions, 'neurons' | 'experts'>)
  | ({
      /** Rounds of pruning and training. */
      readonly method: 'iterative';
    } & IterativeOptions)
  | ({
      /** More and more while the model trains. */
      readonly method: 'gradual';
    } & GradualOptions);

/** What a stage of kind `factorize` does. */
export type FactorizeStage = Fitted<FactorizeOptions | DecomposeOptions, 'ratio'>;

/** What a stage of kind `distill` does. */
export type DistillStage = {
  /** From a text. */
  readonly method: 'offline';
} & DistillOptions;

/** What a stage of kind `quantize` does. */
export type QuantizeStage =
  | ({
      /** Round to nearest. */
      readonly method: 'rtn';
    } & NamedCoding<RtnPassOptions>)
  | ({
      /** Zero points that make most errors small, found from the weights alone. */
      readonly method: 'hqq';
    } & Omit<NamedCoding<HqqOptions>, 'range'>)
  | ({
      /** Column after column, errors moved on. */
      readonly method: 'gptq';
    } & NamedCoding<GptqOptions>)
  | ({
      /** Input scales folded into what comes before. */
      readonly method: 'awq';
    } & Omit<NamedCoding<AwqOptions>, 'range'>)
  | ({
      /** Activations made easier to quantize. */
      readonly method: 'smoothquant';
    } & Omit<SmoothQuantOptions, 'scheme' | 'range'> & {
        /** Scheme with quantized activations: `w8a8`. */
        readonly scheme?: string;
        /** How the range of the codes is found. */
        readonly range?: string;
      })
  | ({
      /** Training with rounding in place. */
      readonly method: 'qat';
    } & NamedCoding<QatOptions>)
  | ({
      /** Scales of the keys and values that a runtime keeps; no weight changes. */
      readonly method: 'kv-cache';
    } & KvCacheOptions);

/** One stage of a recipe: exactly one of `prune`, `factorize`, `distill`, `quantize`. */
export interface RecipeStage {
  /** Name that other stages refer to. */
  readonly id?: string;
  /** Model that it starts from: `source`, the name of a model, or the id of a stage; the stage before when left out. */
  readonly from?: string;
  /** Models that teach it. */
  readonly teacher?: string | readonly string[];
  /** What a stage that trains reads; the calibration text when left out. */
  readonly data?: TrainingText;
  /** Removes weights or whole parts. */
  readonly prune?: PruneStage;
  /** Replaces matrices by products of smaller ones. */
  readonly factorize?: FactorizeStage;
  /** Trains a student by what teachers say. */
  readonly distill?: DistillStage;
  /** Stores weights in fewer bits. */
  readonly quantize?: QuantizeStage;
}

/** How the artefact of a recipe is stored. */
export interface RecipeOutput {
  /** Most bytes of tensors in a file; 5 GB when left out. */
  readonly shardBytes?: number;
  /**
   * How quantized weights are stored: `compressed-tensors` (when left out), or another name of `WEIGHT_FORMATS`. With a variant
   * (`mlx:4`) all must have its codes, and what the format codes beside the blocks is rounded as it does.
   */
  readonly format?: string;
  /** Stores pruned weights as compressed-tensors stores sparse ones, where that is smaller; false when left out. */
  readonly sparse?: boolean;
}

/** Most that the artefact of a recipe may take: exactly one of `size` and `bitsPerWeight`. */
export interface RecipeBudget {
  /** Bytes of the tensor files: `500MB`, `1.5GiB`, a number. */
  readonly size?: string | number;
  /** Bits for each parameter of the model that the recipe starts from. */
  readonly bitsPerWeight?: number;
  /**
   * Values of the option that says `fit`, from gentle to harsh; the first with which the artefact fits is taken. When left out:
   * schemes from `w8` to `w2`, or shares in steps of 0.01.
   */
  readonly try?: readonly (string | number)[];
}

/** Techniques after each other, as data. */
export interface Recipe {
  /** Version of this layout. */
  readonly version: 1;
  /** Seed of everything random; 0 when left out. */
  readonly seed?: number;
  /** Further checkpoints by name, for stages to start from or to learn from. */
  readonly models?: Readonly<Record<string, string>>;
  /** What calibrated stages look at; one text for all. */
  readonly calibration?: CalibrationOptions;
  /** What is done, in order. */
  readonly stages: readonly RecipeStage[];
  /** Most that the artefact may take. One option of one stage may say `fit` and is then chosen by it. */
  readonly budget?: RecipeBudget;
  /** Measures quality before and after on a text. */
  readonly evaluate?: EvaluationOptions;
  /** How the artefact is stored. */
  readonly output?: RecipeOutput;
}
