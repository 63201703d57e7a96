// Vocabularies of GGUF files in node-llama-cpp, in a process of its own: address of the runtime, then `{path, texts}` as JSON for each
// further argument; token ids of each text and the chat template as JSON lines.
const [, , url, ...jobs] = process.argv;
const { getLlama, LlamaLogLevel } = await import(url);
const llama = await getLlama({
  gpu: false,
  build: 'never',
  skipDownload: true,
  progressLogs: false,
  logLevel: LlamaLogLevel.error,
  maxThreads: 1,
});
for (const job of jobs) {
  const { path, texts } = JSON.parse(job);
  const model = await llama.loadModel({ modelPath: path, vocabOnly: true });
  const ids = texts.map((/** @type {string} */ text) => [...model.tokenize(text, false)]);
  const template = model.fileInfo.metadata.tokenizer?.chat_template;
  process.stdout.write(`${JSON.stringify({ ids, template })}\n`);
  await model.dispose();
}
await llama.dispose();
