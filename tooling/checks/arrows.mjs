// Which package may import which: the one-way arrows of the design.

/** @type {Readonly<Record<string, readonly string[]>>} folder below packages/ -> packages that it may import */
export const ARROWS = {
  'tensor-core': [],
  gpu: ['@pith/tensor-core'],
  checkpoint: ['@pith/tensor-core'],
  model: ['@pith/tensor-core', '@pith/checkpoint'],
  quant: ['@pith/tensor-core', '@pith/checkpoint', '@pith/model'],
  prune: ['@pith/tensor-core', '@pith/checkpoint', '@pith/model'],
  lowrank: ['@pith/tensor-core', '@pith/checkpoint', '@pith/model'],
  distill: ['@pith/tensor-core', '@pith/checkpoint', '@pith/model'],
  pith: [
    '@pith/tensor-core',
    '@pith/gpu',
    '@pith/checkpoint',
    '@pith/model',
    '@pith/quant',
    '@pith/prune',
    '@pith/lowrank',
    '@pith/distill',
  ],
};

/** Names of all packages of the repository, present or to come. */
export const packageNames = Object.keys(ARROWS).map((folder) => (folder === 'pith' ? 'pith' : `@pith/${folder}`));
