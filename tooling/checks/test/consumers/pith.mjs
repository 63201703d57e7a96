import { plan } from 'pith';

const { bitsPerWeight, problems } = await plan('model', { scheme: 'w4g128' });
if (problems.length > 0) throw new Error(JSON.stringify(problems));
console.log(`ok ${bitsPerWeight} bits per weight`);
