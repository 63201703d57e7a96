// A report of made-up facts that has every section.
import type { ReportData, ReportWeight } from './report-data.ts';

const modules = ['q_proj', 'k_proj', 'up_proj', 'down_proj'];

const weights: ReportWeight[] = [
  {
    name: 'embed.weight',
    part: 'embedding',
    module: 'embed',
    layer: null,
    action: 'keep',
    bytesBefore: 4e6,
    bytesAfter: 4e6,
    snrDb: null,
  },
  ...[0, 1, 2].flatMap((layer) =>
    modules.map((module, i): ReportWeight => ({
      name: `layers.${layer}.${module}.weight`,
      part: i < 2 ? 'attention' : 'feed-forward',
      module,
      layer,
      action: 'quantize',
      bytesBefore: 2e6 * (i + 1),
      bytesAfter: 0.5e6 * (i + 1),
      snrDb: 20 - layer - i,
    })),
  ),
];

/** Facts for every section. */
export const EVERYTHING: ReportData = {
  title: 'demo-small',
  architecture: 'llama',
  parameters: 32_000_000,
  bytesBefore: 64e6,
  bytesAfter: 19e6,
  bitsPerWeight: 4.75,
  stages: [
    { title: 'factorize whitened-svd', options: { ratio: '0.2' } },
    { title: 'quantize gptq', options: { scheme: 'w4g128', damping: '0.01' } },
  ],
  weights,
  spectra: [
    {
      name: 'layers.0.q_proj.weight',
      rank: 12,
      values: [
        [0, 9],
        [4, 3],
        [8, 1],
        [12, 0.2],
        [16, 0],
      ],
    },
    {
      name: 'layers.1.q_proj.weight',
      rank: null,
      values: [
        [0, 7],
        [4, 2],
        [8, 0.5],
      ],
    },
  ],
  losses: [
    {
      stage: 'distill',
      points: [
        [0, 4.5],
        [10, 3.2],
        [20, 2.9],
      ],
    },
  ],
  samples: [{ prompt: 'Once there was a', before: ' cat.', after: ' hat.' }],
  quality: {
    before: 5.012,
    after: 5.143,
    kl: 0.0123,
    top1Agreement: 0.951,
    protocol: [
      ['windows', '184 of 256 tokens'],
      ['precision', 'f32'],
    ],
  },
  interventions: [{ code: 'DEAD_COLUMNS', where: 'layers.2.down_proj', message: 'three inputs were always zero' }],
  provenance: [['seed', '0']],
};
