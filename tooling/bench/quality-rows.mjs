// The rows of docs/quality.md: what is run, and which row of the reference table it stands beside.

const calibrate = (inputs = 'compressed', order = 'block') => ({ inputs, order });
const gptq = (scheme, options = {}) => ({ quantize: { method: 'gptq', scheme, scaleDType: 'f32', ...options } });
const rtn = (scheme, range = 'minmax') => ({ quantize: { method: 'rtn', scheme, range, scaleDType: 'f32' } });
const MSE = 'lp:2.4,candidates=80';
const SQUARED = 'mse:candidates=80';
const prune = (method, sparsity, pattern) => ({ prune: { method, ...(pattern ? { pattern } : { sparsity }) } });
const svd = (method, ratio) => ({ factorize: { method, ratio } });

/** GPTQ as each row of the reference was configured. */
const GPTQ = {
  'gptq-llmc': { actOrder: 'none', range: 'minmax' },
  'gptq-nomse': { actOrder: 'weight', range: 'minmax' },
  'gptq-plain-order': { actOrder: 'none', range: MSE },
  'gptq-best': { actOrder: 'weight', range: MSE },
  // The reference weights squared errors here, not their 2.4th powers.
  'gptq-hweight': { actOrder: 'weight', range: SQUARED, importance: 'hessian' },
  'gptq-trueseq': { actOrder: 'weight', range: MSE, order: 'groups' },
  'gptq-hweight-trueseq': { actOrder: 'weight', range: SQUARED, importance: 'hessian', order: 'groups' },
};

function gptqRows(model, ours, reference, methods) {
  return methods.map((method) => {
    const { order, ...given } = GPTQ[method];
    // With groups the reference orders columns first and cuts groups then.
    const moving = given.actOrder === 'weight' && /g\d/.test(reference);
    const options = moving ? { ...given, actOrder: 'group' } : given;
    return {
      model,
      method,
      scheme: reference,
      control: 'rtn',
      calibration: calibrate('compressed', order),
      stages: [gptq(ours, options)],
      // compressed-tensors does not store columns in another order with 3 bits.
      ...(moving && ours.startsWith('w3') && { output: { format: 'gptq' } }),
    };
  });
}

const ALL_GPTQ = Object.keys(GPTQ);

/** One run each. `control`: the naive method of the same scheme that it has to beat wherever the reference does. */
export const ROWS = [
  ...['stories260k', 'docs6m'].flatMap((model) => [
    ...[8, 4, 3, 2].map((bits) => ({ model, method: 'rtn', scheme: `w${bits}-channel`, stages: [rtn(`w${bits}`)] })),
    ...[4, 3, 2].map((bits) => ({
      model,
      method: 'rtn-mse',
      scheme: `w${bits}-channel`,
      control: 'rtn',
      stages: [rtn(`w${bits}`, MSE)],
    })),
    { model, method: 'rtn', scheme: 'w4-channel-asym', stages: [rtn('w4-asym')] },
  ]),
  ...[4, 3, 2].flatMap((bits) => gptqRows('stories260k', `w${bits}`, `w${bits}-channel`, ALL_GPTQ)),
  { model: 'docs6m', method: 'rtn', scheme: 'w4g128', stages: [rtn('w4g128')] },
  { model: 'docs6m', method: 'rtn', scheme: 'w3g128', stages: [rtn('w3g128')] },
  ...gptqRows('docs6m', 'w4', 'w4-channel', ['gptq-best', 'gptq-plain-order']),
  ...gptqRows('docs6m', 'w4g128', 'w4g128', ['gptq-llmc', 'gptq-best', 'gptq-plain-order']),
  ...gptqRows('docs6m', 'w3g128', 'w3g128', [
    'gptq-best',
    'gptq-plain-order',
    'gptq-nomse',
    'gptq-hweight',
    'gptq-trueseq',
    'gptq-hweight-trueseq',
  ]),
  ...gptqRows('docs6m', 'w2g64', 'w2g64', ['gptq-best', 'gptq-plain-order', 'gptq-hweight']),
];

const W8A8 = { w8a8: 'w8a8', 'w8a8-static': 'w8a8-static' };

ROWS.push(
  ...[
    ['stories260k', 'w4-asym', 'w4-channel-asym'],
    ['stories260k', 'w4', 'w4-channel'],
    ['docs6m', 'w4g128-asym', 'w4g128-asym'],
    ['docs6m', 'w4g128', 'w4g128'],
  ].map(([model, ours, scheme]) => ({
    model,
    method: 'awq-llmc',
    scheme,
    control: 'rtn',
    calibration: calibrate('original'),
    stages: [{ quantize: { method: 'awq', scheme: ours, scaleDType: 'f32' } }],
  })),
  ...['stories260k', 'docs6m'].flatMap((model) =>
    [
      ['w8a8-token-dynamic', W8A8.w8a8],
      ['w8a8-tensor-static', W8A8['w8a8-static']],
    ].flatMap(([scheme, ours]) =>
      [0.5, 0.8].map((alpha) => ({
        model,
        method: `smoothquant-llmc-${alpha}`,
        scheme,
        calibration: calibrate('original'),
        stages: [{ quantize: { method: 'smoothquant', scheme: ours, alpha, scaleDType: 'f32' } }],
      })),
    ),
  ),
  ...['stories260k', 'docs6m'].flatMap((model) => [
    ...[
      ['50%', 0.5],
      ['2:4', undefined],
      ['70%', 0.7],
    ].flatMap(([scheme, sparsity]) => [
      { model, method: 'magnitude', scheme, stages: [prune('magnitude', sparsity, sparsity ? undefined : '2:4')] },
      ...(scheme === '2:4' ? ['wanda'] : ['wanda', 'sparsegpt']).map((method) => ({
        model,
        method: method === 'sparsegpt' ? 'sparsegpt-llmc' : method,
        scheme,
        control: 'magnitude',
        calibration: calibrate(),
        stages: [prune(method, sparsity, sparsity ? undefined : '2:4')],
      })),
    ]),
    ...[1, 2].map((layers) => ({
      model,
      method: 'shortgpt',
      scheme: `drop${layers}`,
      calibration: calibrate(),
      stages: [{ prune: { method: 'structure', layers } }],
    })),
    ...[
      ['20% removed', 0.2],
      ['40% removed', 0.4],
    ].flatMap(([scheme, ratio]) => [
      { model, method: 'svd', scheme, stages: [svd('svd', ratio)] },
      {
        model,
        method: 'asvd',
        scheme,
        control: 'svd',
        calibration: calibrate('original'),
        stages: [svd('asvd', ratio)],
      },
      {
        model,
        method: 'whitened-svd',
        scheme,
        control: 'svd',
        calibration: calibrate('original'),
        stages: [svd('whitened-svd', ratio)],
      },
      {
        model,
        method: 'whitened-svd-sequential',
        scheme,
        control: 'svd',
        calibration: calibrate(),
        stages: [svd('whitened-svd', ratio)],
      },
    ]),
  ]),
);
