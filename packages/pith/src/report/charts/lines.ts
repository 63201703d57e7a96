// Lines over a common axis: errors by layer, spectra, losses.
import type { Legend, Spec } from 'vega';
import { CHART_WIDTH, PALETTE, plotAxes } from './render-chart.ts';

/** One line. */
export interface Line {
  /** Name in the legend. */
  readonly name: string;
  /** Points in the order in which they are joined. */
  readonly points: readonly (readonly [x: number, y: number])[];
}

/** What the axes say. */
export interface LineChartOptions {
  readonly xTitle: string;
  readonly yTitle: string;
  /** Logarithmic y axis: values must be positive. */
  readonly logarithmic?: boolean;
  /** Marks every point, for lines of few points. */
  readonly dots?: boolean;
  /** The x axis counts things. */
  readonly integers?: boolean;
}

/** A line chart; points whose y is not finite (or not positive, on a logarithmic axis) are left out. */
export function lineChart(lines: readonly Line[], options: LineChartOptions): Spec {
  const { logarithmic = false } = options;
  const values = lines.flatMap(({ name, points }) =>
    points.filter(([, y]) => Number.isFinite(y) && (!logarithmic || y > 0)).map(([x, y]) => ({ name, x, y })),
  );
  const names = lines.map(({ name }) => name);
  const colour = { scale: 'colour', field: 'name' };
  const position = { x: { scale: 'x', field: 'x' }, y: { scale: 'y', field: 'y' } };
  return {
    width: CHART_WIDTH,
    height: 260,
    data: [{ name: 'points', values }],
    scales: [
      { name: 'x', type: 'linear', domain: { data: 'points', field: 'x' }, range: 'width', zero: false },
      {
        name: 'y',
        type: logarithmic ? 'log' : 'linear',
        domain: { data: 'points', field: 'y' },
        range: 'height',
        nice: true,
        ...(!logarithmic && { zero: false }),
      },
      { name: 'colour', type: 'ordinal', domain: names, range: PALETTE },
    ],
    axes: plotAxes(
      { title: options.xTitle, ...(options.integers && { format: 'd', tickMinStep: 1 }) },
      { title: options.yTitle },
    ),
    ...(names.length > 1 && { legends: [legend(names)] }),
    marks: [
      {
        type: 'group',
        from: { facet: { data: 'points', name: 'line', groupby: 'name' } },
        marks: [
          {
            type: 'line',
            from: { data: 'line' },
            encode: { enter: { ...position, stroke: colour, strokeWidth: { value: 1.8 } } },
          },
          ...(options.dots
            ? [
                {
                  type: 'symbol' as const,
                  from: { data: 'line' },
                  encode: { enter: { ...position, fill: colour, size: { value: 28 } } },
                },
              ]
            : []),
        ],
      },
    ],
  };
}

/** Names longer than this do not fit beside the plot. */
const SHORT_NAME = 16;

function legend(names: readonly string[]): Legend {
  if (names.every((name) => name.length <= SHORT_NAME)) return { fill: 'colour', orient: 'right' };
  return { fill: 'colour', orient: 'top', columns: 2, labelLimit: CHART_WIDTH / 2 - 40 };
}
