// How large each kind of module was and is.
import type { Spec } from 'vega';
import type { ModulePart, ReportWeight } from '../report-data.ts';
import { CHART_WIDTH, PALETTE } from './render-chart.ts';

const ORDER: readonly ModulePart[] = ['embedding', 'attention', 'feed-forward', 'norm', 'head', 'other'];

/** Bars of megabytes, before and after, one pair for each kind of module that the model has. */
export function sizeByModule(weights: readonly ReportWeight[]): Spec {
  const values = ORDER.flatMap((part) => {
    const members = weights.filter((weight) => weight.part === part);
    if (members.length === 0) return [];
    const sum = (of: (weight: ReportWeight) => number) =>
      members.reduce((total, weight) => total + of(weight), 0) / 1e6;
    return [
      { part, when: 'before', megabytes: sum(({ bytesBefore }) => bytesBefore) },
      { part, when: 'after', megabytes: sum(({ bytesAfter }) => bytesAfter) },
    ];
  });
  const parts = ORDER.filter((part) => values.some((value) => value.part === part));
  return {
    width: CHART_WIDTH,
    height: 44 * parts.length,
    data: [{ name: 'sizes', values }],
    scales: [
      { name: 'part', type: 'band', domain: parts, range: 'height', padding: 0.25 },
      { name: 'x', domain: { data: 'sizes', field: 'megabytes' }, range: 'width', nice: true, zero: true },
      { name: 'colour', type: 'ordinal', domain: ['before', 'after'], range: [PALETTE[7], PALETTE[0]] },
    ],
    axes: [
      { orient: 'bottom', scale: 'x', grid: true, title: 'megabytes', tickCount: 6 },
      { orient: 'left', scale: 'part', ticks: false, domain: false, labelPadding: 6 },
    ],
    legends: [{ fill: 'colour', orient: 'top', direction: 'horizontal' }],
    marks: [
      {
        type: 'group',
        from: { facet: { data: 'sizes', name: 'pair', groupby: 'part' } },
        encode: { enter: { y: { scale: 'part', field: 'part' } } },
        signals: [{ name: 'height', update: "bandwidth('part')" }],
        scales: [{ name: 'when', type: 'band', domain: ['before', 'after'], range: 'height' }],
        marks: [
          {
            type: 'rect',
            from: { data: 'pair' },
            encode: {
              enter: {
                x: { scale: 'x', value: 0 },
                x2: { scale: 'x', field: 'megabytes' },
                y: { scale: 'when', field: 'when' },
                height: { scale: 'when', band: 1 },
                fill: { scale: 'colour', field: 'when' },
              },
            },
          },
        ],
      },
    ],
  };
}
