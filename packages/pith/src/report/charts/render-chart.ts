// Vega specifications to SVG text, without a canvas and without a network. Text and lines take the page's colour, so that
// a chart is readable on a light page and on a dark one.
import { parse, View, type Axis, type Config, type Spec } from 'vega';

/** Width of a chart's plotting area in CSS pixels; the page scales charts to its own width. */
export const CHART_WIDTH = 640;

/** Colours that differ in lightness too, for eyes that do not tell red from green. */
export const PALETTE = ['#4269d0', '#efb118', '#ff725c', '#6cc5b0', '#3ca951', '#ff8ab7', '#a463f2', '#97bbf5'];

const CONFIG: Config = {
  background: 'transparent',
  axis: {
    labelColor: 'currentColor',
    titleColor: 'currentColor',
    domainColor: 'currentColor',
    tickColor: 'currentColor',
    gridColor: 'currentColor',
    gridOpacity: 0.15,
    domainOpacity: 0.4,
    tickOpacity: 0.4,
    labelFontSize: 11,
    titleFontSize: 12,
    titleFontWeight: 'normal',
  },
  legend: { labelColor: 'currentColor', titleColor: 'currentColor', labelFontSize: 11, symbolType: 'square' },
};

/** Axes along the bottom and the left of a plot, with a grid behind it. */
export function plotAxes(bottom: Partial<Axis>, left: Partial<Axis>): Axis[] {
  return [
    { orient: 'bottom', scale: 'x', labelOverlap: true, ...bottom },
    { orient: 'left', scale: 'y', grid: true, tickCount: 6, ...left },
  ];
}

/**
 * Draws a specification.
 *
 * @returns an `<svg>` element with a label for those who do not see it.
 */
export async function renderChart(spec: Spec, label: string): Promise<string> {
  const view = new View(parse({ padding: 6, autosize: 'pad', ...spec }, CONFIG), { renderer: 'none' });
  try {
    const svg = await view.toSVG();
    return svg.replace('<svg ', `<svg role="img" aria-label="${label.replaceAll(/[<>&"]/g, ' ')}" `);
  } finally {
    view.finalize();
  }
}
