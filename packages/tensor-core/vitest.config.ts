import { packageTests } from '@pith-tooling/vitest';

export default packageTests({
  // tfjs publishes its gradient functions as modules that Node cannot resolve by itself; tests compare ours with them.
  server: { deps: { inline: [/tfjs-core\/dist\/(?!tf-core)/] } },
});
