// A run as one page: a single file that opens without a network, in any browser, today and in ten years. Charts are SVG
// drawn now; there is no script in it.
import { formatBytes, formatCount, plural, significant } from '../format.ts';
import { lineChart, type Line } from './charts/lines.ts';
import { renderChart } from './charts/render-chart.ts';
import { sizeByModule } from './charts/size-by-module.ts';
import { html, Html } from './html.ts';
import type { ReportData, ReportWeight } from './report-data.ts';
import { STYLE } from './style.ts';

/** The browser may load nothing and run nothing, whatever a model's texts contain. */
const POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

/**
 * Writes a report.
 *
 * @returns the text of an HTML file; the same for the same data.
 */
export async function writeReport(data: ReportData): Promise<string> {
  const sections = [
    cards(data),
    stages(data),
    await sizes(data),
    await errors(data),
    await spectra(data),
    await losses(data),
    samples(data),
    interventions(data),
    protocol(data),
    tensors(data),
    facts('How it was made', data.provenance),
  ];
  const page = html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta http-equiv="Content-Security-Policy" content="${POLICY}" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>${data.title}: Pith report</title>
        <link rel="icon" href="data:," />
        <style>
          ${new Html(STYLE)}
        </style>
      </head>
      <body>
        <header>
          <h1>${data.title}</h1>
          <p class="soft">${data.architecture}, ${formatCount(data.parameters)} parameters</p>
        </header>
        <main>${sections}</main>
      </body>
    </html> `;
  return page.text;
}

function card(value: string, label: string): Html {
  return html`<li><strong>${value}</strong><span>${label}</span></li>`;
}

function cards({ bytesBefore, bytesAfter, bitsPerWeight, quality }: ReportData): Html {
  const list = [
    card(
      formatBytes(bytesAfter),
      `of ${formatBytes(bytesBefore)}, ${significant(bytesBefore / bytesAfter, 3)} times smaller`,
    ),
    card(significant(bitsPerWeight, 3), 'bits for each parameter'),
  ];
  if (quality !== null) {
    const change = 100 * (quality.after / quality.before - 1);
    list.push(
      card(
        significant(quality.after, 4),
        `perplexity, ${significant(quality.before, 4)} before (${change < 0 ? '' : '+'}${significant(change, 2)}%)`,
      ),
      card(
        `${significant(100 * quality.top1Agreement, 3)}%`,
        `same most likely token; KL ${significant(quality.kl, 3)} nats`,
      ),
    );
  }
  return html`<ul class="cards">
    ${list}
  </ul>`;
}

function section(title: string, body: Html): Html {
  return html`<section>
    <h2>${title}</h2>
    ${body}
  </section> `;
}

const NOTHING = new Html('');

function stages(data: ReportData): Html {
  const items = data.stages.map(({ title, options }) => {
    const shown = Object.entries(options).map(([name, value]) => html`<code>${name} ${value}</code>`);
    return html`<li>${title} ${shown}</li>`;
  });
  return items.length === 0
    ? NOTHING
    : section(
        'What was done',
        html`<ol class="stages">
          ${items}
        </ol>`,
      );
}

function figure(svg: string, caption: string): Html {
  return html`<figure>
    ${new Html(svg)}
    <figcaption>${caption}</figcaption>
  </figure>`;
}

async function sizes({ weights }: ReportData): Promise<Html> {
  if (weights.length === 0) return NOTHING;
  const svg = await renderChart(sizeByModule(weights), 'Size by module, before and after');
  return section('Size by module', figure(svg, 'Megabytes of stored tensors, before and after.'));
}

async function errors({ weights }: ReportData): Promise<Html> {
  const changed = weights.filter((weight) => weight.snrDb !== null && weight.layer !== null);
  if (changed.length === 0) return NOTHING;
  const modules = [...new Set(changed.map(({ module }) => module))];
  const lines = modules.map<Line>((name) => ({
    name,
    points: changed.filter(({ module }) => module === name).map(({ layer, snrDb }) => [layer!, snrDb!]),
  }));
  const chart = lineChart(lines, { xTitle: 'layer', yTitle: 'signal to noise, dB', dots: true, integers: true });
  const svg = await renderChart(chart, 'Error by layer');
  const isSliced = weights.some(({ snrDb, action }) => snrDb === null && action.split('+').includes('slice'));
  const note = isSliced ? ' Weights that have another shape now have nothing to be held against.' : '';
  return section(
    'Error by layer',
    figure(svg, `Signal-to-noise ratio of each restored weight; higher is closer to the source.${note}`),
  );
}

/** Spectra of more weights than these are not drawn: the picture would say nothing. */
const MOST_SPECTRA = 8;

async function spectra({ spectra: all }: ReportData): Promise<Html> {
  if (all.length === 0) return NOTHING;
  const step = Math.ceil(all.length / MOST_SPECTRA);
  const shown = all.filter((_, i) => i % step === 0);
  const lines = shown.map<Line>(({ name, rank, values }) => ({
    name: rank === null ? name : `${name} (rank ${rank})`,
    points: values,
  }));
  const chart = lineChart(lines, { xTitle: 'index', yTitle: 'singular value', logarithmic: true, integers: true });
  const svg = await renderChart(chart, 'Singular values');
  const caption = `Singular values of ${shown.length === all.length ? 'the' : `${shown.length} of ${all.length}`} factorized weights.`;
  return section('Spectra', figure(svg, caption));
}

async function losses({ losses: curves }: ReportData): Promise<Html> {
  if (curves.length === 0) return NOTHING;
  const lines = curves.map<Line>(({ stage, points }) => ({ name: stage, points }));
  const svg = await renderChart(lineChart(lines, { xTitle: 'step', yTitle: 'loss', integers: true }), 'Loss');
  return section('Training', figure(svg, 'Loss of each step, before the step.'));
}

function samples({ samples: texts }: ReportData): Html {
  if (texts.length === 0) return NOTHING;
  const pairs = texts.map(
    ({ prompt, before, after }) =>
      html`<div class="texts">
        <div><b>before</b><em>${prompt}</em>${before}</div>
        <div><b>after</b><em>${prompt}</em>${after}</div>
      </div> `,
  );
  return section('In its own words', html`${pairs}`);
}

function interventions({ interventions: list }: ReportData): Html {
  if (list.length === 0) return section('Numerical rescues', html`<p>None was needed.</p>`);
  const rows = list.map(
    ({ code, where, message }) =>
      html`<tr>
        <td>${code}</td>
        <td>${where}</td>
        <td>${message}</td>
      </tr> `,
  );
  return section(
    'Numerical rescues',
    html`<table>
      <tr>
        <th>what</th>
        <th>where</th>
        <th>why</th>
      </tr>
      ${rows}
    </table>`,
  );
}

function facts(title: string, list: readonly (readonly [string, string])[]): Html {
  if (list.length === 0) return NOTHING;
  return section(
    title,
    html`<dl>
      ${list.map(
        ([name, value]) =>
          html`<dt>${name}</dt>
            <dd>${value}</dd>`,
      )}
    </dl>`,
  );
}

function protocol({ quality }: ReportData): Html {
  if (quality === null) {
    return section('Quality', html`<p>Not measured: no text was given to evaluate on.</p>`);
  }
  return facts('How quality was measured', quality.protocol);
}

function tensors({ weights }: ReportData): Html {
  const row = ({ name, action, bytesBefore, bytesAfter, snrDb }: ReportWeight): Html =>
    html`<tr>
      <td>${name}</td>
      <td>${action}</td>
      <td class="number">${formatBytes(bytesBefore)}</td>
      <td class="number">${formatBytes(bytesAfter)}</td>
      <td class="number">${snrDb === null ? '' : snrDb.toFixed(1)}</td>
    </tr> `;
  return section(
    'Tensors',
    html`<details>
      <summary>${plural(weights.length, 'tensor')}</summary>
      <table>
        <tr>
          <th>name</th>
          <th>action</th>
          <th class="number">before</th>
          <th class="number">after</th>
          <th class="number">SNR, dB</th>
        </tr>
        ${weights.map(row)}
      </table>
    </details>`,
  );
}
