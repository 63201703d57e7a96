// Makes the demo model from nothing: text, tokenizer, training, checkpoint, evaluation. Ctrl-C or a kill loses at most
// the steps since the last saved state; the same command goes on from there and ends with the same bytes.
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { performance } from 'node:perf_hooks';
import { planOutput, type OutputTensor } from '@pith/checkpoint';
import { openOutput, workingDirectoryOf } from '@pith/checkpoint/node';
import {
  adamw,
  cosineSchedule,
  createTokenizer,
  createTrainer,
  describeArchitecture,
  expectedTensors,
  initialParameters,
  nextTokenLoss,
  perplexity,
  readModelConfig,
  tokenWindows,
  type StepRecord,
  type TrainState,
} from '@pith/model';
import { openLossLog, openModel, readTrainState, saveTrainState } from '@pith/model/node';
import { fromF32 } from '@pith/tensor-core';
import { cpuDevice } from '@pith/tensor-core/node';
import { learnTokenizer } from './learn-tokenizer.ts';
import { drawFrom, packPages } from './pages.ts';
import * as settings from './settings.ts';
import { tokenizerSample, trainingPages } from './training-text.ts';
import { evaluationText, folder, writeTextFiles } from './write-texts.ts';

const { modelConfig, texts, training } = settings;
const states = `${folder}/.train`;
const checkpoint = `${folder}/checkpoint`;
const lossFile = `${folder}/loss.jsonl`;
const json = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;

const stop = new AbortController();
process.once('SIGINT', () => stop.abort());

console.log('Writing text ...');
await writeTextFiles();
const pages = trainingPages();
const tokenizerFiles = learnTokenizer(tokenizerSample(pages), settings.tokenizer, modelConfig.max_position_embeddings);
const tokenizer = createTokenizer(tokenizerFiles.tokenizer, tokenizerFiles.config);
const tokens = packPages(pages, tokenizer, {
  bos: modelConfig.bos_token_id,
  eos: modelConfig.eos_token_id,
  context: training.context,
  draw: drawFrom(training.seed),
});
console.log(`${tokens.length} tokens of training text, ${tokenizer.size} symbols`);

const architecture = describeArchitecture(readModelConfig(modelConfig));
const device = cpuDevice({ threads: 1 });
const run = JSON.stringify({ modelConfig, training, tokenizer: settings.tokenizer, texts: texts.training });
await mkdir(states, { recursive: true });
const saved = await readTrainState(states, run);
const trainer = await createTrainer({
  parameters: initialParameters(architecture, { seed: training.seed }),
  loss: nextTokenLoss(architecture),
  batches: tokenWindows({
    tokens,
    bos: modelConfig.bos_token_id,
    context: training.context,
    batchSize: training.batchSize,
    seed: training.seed,
  }),
  optimizer: adamw(training.adamw),
  schedule: cosineSchedule({
    steps: training.steps,
    warmupSteps: training.warmupSteps,
    peak: training.peakRate,
    floor: training.floorRate,
  }),
  clipNorm: training.clipNorm,
  device,
  ...(saved !== null && { state: saved }),
});
const log = await openLossLog(lossFile, trainer.step);
console.log(`Training from step ${trainer.step} to ${training.steps} ...`);
const tokensPerStep = training.batchSize * training.context;
const begun = { step: trainer.step, at: performance.now() };
let recent: number[] = [];
await trainer.train({
  steps: training.steps,
  signal: stop.signal,
  onStep: async (record) => {
    if (trainer.step % training.logEvery === 0) await log.append(record);
    recent = [...recent, record.loss].slice(-100);
    if (trainer.step % 100 === 0) {
      const speed = ((trainer.step - begun.step) * tokensPerStep) / (performance.now() - begun.at);
      const loss = recent.reduce((sum, x) => sum + x, 0) / recent.length;
      console.log(`step ${trainer.step}  loss ${loss.toFixed(4)}  ${(speed * 1000).toFixed(0)} tokens/s`);
    }
    if (trainer.step % training.saveEvery === 0) await saveTrainState(states, trainer.state(), run);
  },
});

await saveModel(trainer.state());
await trainer.dispose();
const lastLosses = (await readFile(lossFile, 'utf8'))
  .trim()
  .split('\n')
  .slice(-50)
  .map((line) => (JSON.parse(line) as StepRecord).loss);
const model = await openModel(checkpoint);
const { perplexity: quality, tokens: predicted } = await perplexity(model, {
  text: evaluationText(),
  context: training.context,
  device,
});
const record = {
  parameters: expectedTensors(architecture).reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0),
  trainingTokens: tokens.length,
  steps: training.steps,
  tokensSeen: training.steps * tokensPerStep,
  finalLoss: lastLosses.reduce((sum, x) => sum + x, 0) / lastLosses.length,
  evaluation: { file: 'eval.txt', context: training.context, tokens: predicted, perplexity: quality },
};
await writeFile(`${folder}/training.json`, json(record));
await model.close();
await device.dispose();
console.log(json(record));

/** Writes the checkpoint in bf16, in place of the one before. */
async function saveModel(state: TrainState): Promise<void> {
  const tensors = expectedTensors(architecture);
  const layout = planOutput(tensors.map(({ name, shape }): OutputTensor => ({ name, shape, dtype: 'bf16' })));
  await rm(checkpoint, { recursive: true, force: true });
  await rm(workingDirectoryOf(checkpoint), { recursive: true, force: true });
  const output = await openOutput(checkpoint, layout);
  for (const { name } of tensors) await output.write(name, 0, fromF32('bf16', state.tensors[name]!.data));
  await output.writeFile('config.json', json(modelConfig));
  await output.writeFile('generation_config.json', json(settings.generationConfig));
  await output.writeFile('tokenizer.json', json(tokenizerFiles.tokenizer));
  await output.writeFile('tokenizer_config.json', json(tokenizerFiles.config));
  await output.finish();
  await output.publish();
}
