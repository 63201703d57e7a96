/** A GGUF file and what is asked about it; see `llama-process.mjs`. */
export interface LlamaJob {
  readonly path: string;
  /** Loads the tokenizer alone. */
  readonly vocabOnly?: boolean;
  readonly [question: string]: unknown;
}
/** Answers of node-llama-cpp, in order; a job with several questions has as many answers. Needs `hasRuntime('node-llama-cpp')`. */
export declare function runLlama<Answer>(jobs: readonly LlamaJob[]): Answer[];
