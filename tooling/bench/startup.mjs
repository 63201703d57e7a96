// How long `pith --help` takes, node itself included and alone.
import { measure, median } from './measure.mjs';

/** @param {{ pith: string, rounds?: number }} options */
export async function benchStartup({ pith, rounds = 15 }) {
  const help = [];
  const bare = [];
  for (let round = 0; round < rounds; round++) {
    help.push((await measure(process.execPath, [pith, '--help'])).seconds);
    bare.push((await measure(process.execPath, ['-e', '0'])).seconds);
  }
  return { name: 'pith --help', seconds: median(help), nodeAloneSeconds: median(bare), rounds };
}
