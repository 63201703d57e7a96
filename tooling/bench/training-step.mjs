// One training step of a small Llama, the shape that the peers are timed on: hidden 256, 6 layers, 8 query and 4 key-value
// heads, feed-forward 768, vocabulary 4096, tied; batch 4 x 256; forward, backward and AdamW in one program. Gradients are not
// clipped, as the peer's are not. With `teacher` a model twice as deep gives soft targets at temperature 2, half of the loss.
// Prints one JSON document. `node training-step.mjs [threads] [teacher]`
//
// The share of time outside matrix products is measured, by ONNX Runtime's own profile of the same program in a session of
// its own: (time of a run - time of its MatMul, FusedMatMul and Gemm nodes) / time of a run. Profiling itself costs some
// microseconds a node, which count as time outside.
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import {
  adamw,
  causalLogits,
  createTrainer,
  crossEntropy,
  describeArchitecture,
  initialParameters,
  nextTokenLoss,
  readModelConfig,
  softTargetLoss,
  tokenWindows,
} from '@pith/model';
import * as tf from '@tensorflow/tfjs-core';
import { randomStream } from '@pith/tensor-core';
import { cpuDevice } from '@pith/tensor-core/node';
import ort from 'onnxruntime-node';

const PRODUCTS = new Set(['MatMul', 'FusedMatMul', 'Gemm']);
const BATCH = 4;
const CONTEXT = 256;
const VOCABULARY = 4096;
const WARM_STEPS = 3;
/** The best of some groups of steps, as the peer has it. */
const GROUPS = 3;
const GROUP_STEPS = 4;
const STEPS = GROUPS * GROUP_STEPS;

const threads = Number(process.argv[2] ?? availableParallelism());
const withTeacher = process.argv[3] === 'teacher';
const llama = (/** @type {number} */ layers) =>
  describeArchitecture(
    readModelConfig({
      architectures: ['LlamaForCausalLM'],
      model_type: 'llama',
      vocab_size: VOCABULARY,
      hidden_size: 256,
      intermediate_size: 768,
      num_hidden_layers: layers,
      num_attention_heads: 8,
      num_key_value_heads: 4,
      max_position_embeddings: 512,
      rms_norm_eps: 1e-5,
      rope_theta: 10000,
      hidden_act: 'silu',
      tie_word_embeddings: true,
      bos_token_id: 0,
      eos_token_id: 1,
    }),
  );
const architecture = llama(6);
const teacher = llama(12);
/** Names that the teacher's weights have beside the student's. */
const teachers = 'teacher:';
/** @type {import('@pith/model').Loss} */
const distilled = (weights, batch) => {
  const own = Object.entries(weights).filter(([name]) => name.startsWith(teachers));
  const frozen = Object.fromEntries(own.map(([name, weight]) => [name.slice(teachers.length), weight]));
  const ids = /** @type {tf.Tensor2D} */ (batch['ids']);
  const logits = causalLogits(architecture, weights, ids);
  const soft = softTargetLoss(logits, causalLogits(teacher, frozen, ids), { temperature: 2 });
  const hard = crossEntropy(logits, /** @type {tf.Tensor2D} */ (batch['targets']));
  return tf.add(tf.mul(soft, 0.5), tf.mul(hard, 0.5));
};
const parameters = initialParameters(architecture, { seed: 1 });
const random = randomStream(2, 'tokens');
const tokens = Int32Array.from({ length: 64 * CONTEXT }, () => random.below(VOCABULARY));

// A device that shows what passes through it: the model's bytes and the inputs of a run.
const cpu = cpuDevice({ threads });
/** @type {{ model?: Uint8Array, inputs?: import('@pith/tensor-core').HostTensors }} */
const seen = {};
/** @type {import('@pith/tensor-core').Device} */
const device = {
  ...cpu,
  compile: async (model) => {
    seen.model = model.slice();
    const executable = await cpu.compile(model);
    return {
      inputs: executable.inputs,
      outputs: executable.outputs,
      run: (inputs, into) => {
        seen.inputs ??= inputs;
        return executable.run(inputs, into);
      },
      dispose: () => executable.dispose(),
    };
  },
};

const compileStart = performance.now();
const trainer = await createTrainer({
  parameters,
  ...(withTeacher
    ? {
        frozen: Object.fromEntries(
          Object.entries(initialParameters(teacher, { seed: 4 })).map(([name, weight]) => [
            `${teachers}${name}`,
            weight,
          ]),
        ),
        loss: distilled,
      }
    : { loss: nextTokenLoss(architecture) }),
  clipNorm: null,
  batches: tokenWindows({ tokens, bos: 0, context: CONTEXT, batchSize: BATCH, seed: 3 }),
  optimizer: adamw(),
  schedule: () => 1e-3,
  device,
});
const compileSeconds = (performance.now() - compileStart) / 1000;
await trainer.train({ steps: WARM_STEPS });
/** @type {number[]} */
const seconds = [];
/** @type {number[]} */
const cpuSeconds = [];
let last = performance.now();
let used = process.cpuUsage();
await trainer.train({
  steps: WARM_STEPS + STEPS,
  onStep: () => {
    seconds.push((performance.now() - last) / 1000);
    last = performance.now();
    const { user, system } = process.cpuUsage(used);
    cpuSeconds.push((user + system) / 1e6);
    used = process.cpuUsage();
  },
});
await trainer.dispose();
await cpu.dispose();
const groups = Array.from({ length: GROUPS }, (_, group) =>
  seconds.slice(group * GROUP_STEPS, (group + 1) * GROUP_STEPS).reduce((sum, step) => sum + step / GROUP_STEPS, 0),
);
seconds.sort((a, b) => a - b);
cpuSeconds.sort((a, b) => a - b);
const median = (seconds[STEPS / 2 - 1] + seconds[STEPS / 2]) / 2;

const profile = await profiled();
console.log(
  JSON.stringify(
    {
      shape: { hidden: 256, layers: 6, heads: 8, keyValueHeads: 4, feedForward: 768, vocabulary: VOCABULARY },
      batch: [BATCH, CONTEXT],
      threads,
      parameters: Object.values(parameters).reduce((sum, { data }) => sum + data.length, 0),
      compileSeconds,
      steps: STEPS,
      secondsPerStep: median,
      tokensPerSecond: (BATCH * CONTEXT) / median,
      teacherLayers: withTeacher ? 12 : null,
      tokensPerCpuSecond: (2 * BATCH * CONTEXT) / (cpuSeconds[STEPS / 2 - 1] + cpuSeconds[STEPS / 2]),
      fastestTokensPerCpuSecond: (BATCH * CONTEXT) / cpuSeconds[0],
      bestGroupTokensPerSecond: (BATCH * CONTEXT) / Math.min(...groups),
      shareOutsideProducts: profile.shareOutsideProducts,
      shareOutsideProductsBy: "ONNX Runtime's profile: (run - MatMul, FusedMatMul and Gemm nodes) / run",
      millisecondsByOperator: profile.millisecondsByOperator,
    },
    null,
    2,
  ),
);

/** Runs the program under the profiler: three runs, of which the last two count. */
async function profiled() {
  const folder = mkdtempSync(join(tmpdir(), 'pith-profile-'));
  try {
    const session = await ort.InferenceSession.create(/** @type {Uint8Array} */ (seen.model), {
      executionProviders: ['cpu'],
      intraOpNumThreads: threads,
      graphOptimizationLevel: 'all',
      enableProfiling: true,
      profileFilePrefix: join(folder, 'step'),
      logSeverityLevel: 4,
    });
    const feeds = Object.fromEntries(
      Object.entries(seen.inputs ?? {}).map(([name, { dtype, data, shape }]) => [
        name,
        new ort.Tensor(dtype === 'i32' ? 'int32' : 'float32', /** @type {Float32Array} */ (data), shape),
      ]),
    );
    const skipped = 1;
    const runs = 3;
    for (let run = 0; run < runs; run++) await session.run(feeds);
    session.endProfiling();
    await session.release();
    const [file] = readdirSync(folder);
    return shares(JSON.parse(readFileSync(join(folder, file), 'utf8')), skipped, runs);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * @param {{ cat: string, name: string, ts: number, dur: number, args?: { op_name?: string } }[]} events microseconds
 * @param {number} skipped runs that warm up
 * @param {number} runs all runs
 */
function shares(events, skipped, runs) {
  const wholeRuns = events.filter(({ name }) => name === 'model_run').sort((a, b) => a.ts - b.ts);
  const from = wholeRuns[skipped].ts;
  const counted = wholeRuns.slice(skipped);
  const total = counted.reduce((sum, { dur }) => sum + dur, 0);
  /** @type {Record<string, number>} */
  const byOperator = {};
  for (const { cat, name, ts, dur, args } of events) {
    if (cat !== 'Node' || ts < from || !name.endsWith('_kernel_time')) continue;
    const operator = args?.op_name ?? 'unknown';
    byOperator[operator] = (byOperator[operator] ?? 0) + dur;
  }
  let products = 0;
  for (const operator of PRODUCTS) products += byOperator[operator] ?? 0;
  const perRun = Object.entries(byOperator)
    .map(([operator, micros]) => /** @type {const} */ ([operator, Math.floor(micros / (runs - skipped)) / 1000]))
    .sort((a, b) => b[1] - a[1]);
  return { shareOutsideProducts: (total - products) / total, millisecondsByOperator: Object.fromEntries(perRun) };
}
