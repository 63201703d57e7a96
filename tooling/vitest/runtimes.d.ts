/** Runtimes that tests load artefacts in. */
export type Runtime = 'node-llama-cpp' | 'onnxruntime-node' | '@huggingface/transformers';
/** Whether it is installed in tooling/runtimes; throws in CI where it is not. Use `describe.skipIf(!hasRuntime(...))`. */
export declare function hasRuntime(name: Runtime): boolean;
/** Address of its entry module, for `import()` in the test or in a child process. */
export declare function runtimeUrl(name: Runtime): string;
