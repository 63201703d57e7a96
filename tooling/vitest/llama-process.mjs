// node-llama-cpp in a process of its own, started by llama.mjs: address of the runtime, then one job for each further argument (JSON), results as
// JSON lines.
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
/** @param {object} value */
const print = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
for (const text of jobs) {
  const job = JSON.parse(text);
  const model = await llama.loadModel({ modelPath: job.path, vocabOnly: job.vocabOnly ?? false });
  if (job.tokenize !== undefined) print({ ids: [...model.tokenize(job.tokenize, false)] });
  // Texts, each by itself; with `special`, texts of special tokens become those.
  if (job.texts !== undefined) {
    print({ ids: job.texts.map((/** @type {string} */ text) => [...model.tokenize(text, job.special ?? false)]) });
  }
  if (job.embed !== undefined) {
    const context = await model.createEmbeddingContext({ contextSize: 64, batchSize: 64, threads: 1 });
    const vectors = [];
    for (const ids of job.embed) vectors.push([...(await context.getEmbeddingFor(ids)).vector]);
    print({ vectors });
    await context.dispose();
  }
  if (job.template) print({ template: model.fileInfo.metadata.tokenizer?.chat_template ?? null });
  if (job.ids !== undefined) {
    const context = await model.createContext({
      contextSize: job.contextSize ?? 256,
      batchSize: 256,
      threads: 1,
      // Keys and values in f32, so that nothing is rounded that the file has not.
      ...(job.exact && {
        experimentalKvCacheKeyType: 'F32',
        experimentalKvCacheValueType: 'F32',
        flashAttention: false,
      }),
    });
    const sequence = context.getSequence();
    if (job.greedy !== undefined) {
      const ids = [];
      for await (const id of sequence.evaluate(job.ids, { temperature: 0 })) {
        ids.push(id);
        if (ids.length >= job.greedy) break;
      }
      print({ ids });
    } else {
      const generateNext = { probabilities: true, options: { temperature: 1, topK: 0, topP: 1, minP: 0 } };
      const results = await sequence.controlledEvaluate(
        job.ids.map((/** @type {number} */ id) => [id, { generateNext }]),
      );
      print({
        rows: results.map((/** @type {{ next: { probabilities: Map<number, number> } }} */ { next }) => {
          const row = new Array(job.vocabulary).fill(0);
          for (const [id, probability] of next.probabilities) row[id] = probability;
          return row;
        }),
      });
    }
    await context.dispose();
  }
  await model.dispose();
}
await llama.dispose();
