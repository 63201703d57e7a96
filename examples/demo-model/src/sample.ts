// Prints texts that the demo model writes: `npm run sample [-- prompt]`.
import { generate } from '@pith/model';
import { openModel } from '@pith/model/node';
import { cpuDevice } from '@pith/tensor-core/node';
import { folder } from './write-texts.ts';

const prompt = process.argv.slice(2).join(' ');
const device = cpuDevice();
const model = await openModel(`${folder}/checkpoint`);
for (let seed = 0; seed < 5; seed++) {
  const { text } = await generate(model, { prompt, device, seed, temperature: 0.8, topP: 0.95, maxTokens: 120 });
  console.log(`${prompt}${text}\n`);
}
await model.close();
await device.dispose();
