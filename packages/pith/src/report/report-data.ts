// What a report shows: the facts of a receipt, arranged for pictures. Nothing here is measured; it is all taken over.

/** Where a tensor stands in the model. */
export type ModulePart = 'embedding' | 'attention' | 'feed-forward' | 'norm' | 'head' | 'other';

/** One tensor of the source and what became of it. */
export interface ReportWeight {
  /** Name in the source. */
  readonly name: string;
  /** What kind of module it belongs to. */
  readonly part: ModulePart;
  /** Last part of its module's path, such as `q_proj`. */
  readonly module: string;
  /** Index of its block; null outside of the blocks. */
  readonly layer: number | null;
  /** What was done, in a word: `quantize`, `prune`, `keep`. */
  readonly action: string;
  /** Bytes in the source. */
  readonly bytesBefore: number;
  /** Bytes in the artefact. */
  readonly bytesAfter: number;
  /** Signal-to-noise ratio of the restored weight in dB; null where nothing was lost or nothing is known. */
  readonly snrDb: number | null;
}

/** One technique at work. */
export interface ReportStage {
  /** `quantize gptq`. */
  readonly title: string;
  /** Its options as text, by name. */
  readonly options: Readonly<Record<string, string>>;
}

/** Singular values of one weight. */
export interface ReportSpectrum {
  /** Name of the weight. */
  readonly name: string;
  /** Index, from 0, and singular value; descending values. May be a selection. */
  readonly values: readonly (readonly [index: number, value: number])[];
  /** Rank that was kept; null where it was not cut. */
  readonly rank: number | null;
}

/** The losses of one training stage. */
export interface ReportLossCurve {
  /** The stage's title. */
  readonly stage: string;
  /** Step and loss. May be a selection. */
  readonly points: readonly (readonly [step: number, loss: number])[];
}

/** What the model says, before and after. */
export interface ReportSample {
  /** The text that both continue. */
  readonly prompt: string;
  /** Continuation by the source. */
  readonly before: string;
  /** Continuation by the artefact. */
  readonly after: string;
}

/** Quality before and after. */
export interface ReportQuality {
  /** Perplexity of the source. */
  readonly before: number;
  /** Perplexity of the artefact. */
  readonly after: number;
  /** Mean KL divergence from the source's next-token distribution, nats a token. */
  readonly kl: number;
  /** Share of tokens whose most likely successor is the same, 0 to 1. */
  readonly top1Agreement: number;
  /** How it was measured, as facts. */
  readonly protocol: readonly (readonly [name: string, value: string])[];
}

/** A numerical rescue. */
export interface ReportIntervention {
  /** Stable code: `DAMPING_RAISED`. */
  readonly code: string;
  /** Module or tensor. */
  readonly where: string;
  /** One sentence. */
  readonly message: string;
}

/** Everything that a report shows. */
export interface ReportData {
  /** What the artefact is called. */
  readonly title: string;
  /** Architecture of the model. */
  readonly architecture: string;
  /** Parameters of the source. */
  readonly parameters: number;
  /** Bytes of the source's tensor files. */
  readonly bytesBefore: number;
  /** Bytes of the artefact's tensor files. */
  readonly bytesAfter: number;
  /** Bits of all stored tensors for each parameter that was read. */
  readonly bitsPerWeight: number;
  /** The techniques, in order. */
  readonly stages: readonly ReportStage[];
  /** The tensors, in the order of the source. */
  readonly weights: readonly ReportWeight[];
  /** Empty where nothing was factorized. */
  readonly spectra: readonly ReportSpectrum[];
  /** Empty where nothing was trained. */
  readonly losses: readonly ReportLossCurve[];
  /** Empty without a tokenizer. */
  readonly samples: readonly ReportSample[];
  /** Null where no text was given to evaluate on. */
  readonly quality: ReportQuality | null;
  /** Numerical rescues; empty where none was needed. */
  readonly interventions: readonly ReportIntervention[];
  /** Seeds, versions, hashes, time, memory, machine: facts for the foot of the page. */
  readonly provenance: readonly (readonly [name: string, value: string])[];
}
