import { describe, expect, it } from 'vitest';
import { EVERYTHING } from './report.fixture.ts';
import { writeReport } from './write-report.ts';

const headings = (page: string) => [...page.matchAll(/<h2>([^<]*)<\/h2>/g)].map(([, title]) => title);

describe('writeReport', () => {
  it('has a section for each kind of fact, and says the numbers', async () => {
    const page = await writeReport(EVERYTHING);
    expect(headings(page)).toEqual([
      'What was done',
      'Size by module',
      'Error by layer',
      'Spectra',
      'Training',
      'In its own words',
      'Numerical rescues',
      'How quality was measured',
      'Tensors',
      'How it was made',
    ]);
    expect(page).toContain('3.37 times smaller');
    expect(page).toContain('perplexity, 5.012 before (+2.6%)');
    expect(page).toContain('three inputs were always zero');
    expect(page.match(/<svg /g)).toHaveLength(4);
  });

  it('leaves out what there is nothing to say about, but says that quality was not measured', async () => {
    const bare = { ...EVERYTHING, stages: [], weights: [], spectra: [], losses: [], samples: [], provenance: [] };
    const page = await writeReport({ ...bare, quality: null, interventions: [] });
    expect(headings(page)).toEqual(['Numerical rescues', 'Quality', 'Tensors']);
    expect(page).toContain('Not measured');
    expect(page).toContain('None was needed');
  });

  it('says why a weight of another shape has no error', async () => {
    const said = 'have another shape now';
    expect(await writeReport(EVERYTHING)).not.toContain(said);
    const [first, ...others] = EVERYTHING.weights;
    const weights = [{ ...first!, action: 'slice+quantize', snrDb: null }, ...others];
    expect(await writeReport({ ...EVERYTHING, weights })).toContain(said);
  });

  it('draws one mark for each fact', async () => {
    const page = await writeReport({ ...EVERYTHING, spectra: [], losses: [] });
    // Before and after of three kinds of module; twelve dots of four lines.
    expect(page.match(/aria-roledescription="rect mark"/g) ?? page.match(/mark-rect/g)).toBeTruthy();
    const dots = /mark-symbol role-mark.*?<\/g>/gs;
    const counted = [...page.matchAll(dots)].reduce((sum, [group]) => sum + group.match(/<path/g)!.length, 0);
    expect(counted).toBe(12);
  });

  it('never lets a name or a text become markup', async () => {
    const evil = '</style><script>alert(1)</script>"\'&';
    const page = await writeReport({
      ...EVERYTHING,
      title: evil,
      weights: EVERYTHING.weights.map((weight) => ({ ...weight, name: evil, module: evil })),
      spectra: [
        {
          name: evil,
          rank: 1,
          values: [
            [0, 1],
            [1, 0.5],
          ],
        },
      ],
      samples: [{ prompt: evil, before: evil, after: evil }],
      interventions: [{ code: evil, where: evil, message: evil }],
      stages: [{ title: evil, options: { [evil]: evil } }],
    });
    expect(page).not.toContain('<script');
    expect(page.match(/<\/style>/g)).toHaveLength(1);
  });

  it('is the same for the same facts', async () => {
    expect(await writeReport(EVERYTHING)).toBe(await writeReport(EVERYTHING));
  });
});
