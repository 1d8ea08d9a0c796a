// Icons and the marks of states: shape first, colour second. Each is drawn on a grid of 16.

const SVG = 'http://www.w3.org/2000/svg';

const PATHS = {
  requests: 'M2 4h12M2 8h12M2 12h8',
  batches: 'M2.5 2.5h4v4h-4zM9.5 2.5h4v4h-4zM2.5 9.5h4v4h-4zM9.5 9.5h4v4h-4z',
  letters: 'M2 9.5 4 3h8l2 6.5V13H2zM2 9.5h3.5L6.5 11h3l1-1.5H14',
  endpoints: 'M2 8h4M6 8l4-4h4M6 8l4 4h4',
  doctor: 'M1.5 8h3l2-5 3 10 2-5h3',
  image: 'M2.5 3h11v10h-11zM2.5 11l3-3 2.5 2.500 2-2 3.500 3.500M10.500 6h.01',
  video: 'M2 4h8v8H2zM10 7l4-2.500v7L10 9',
  search: 'M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10zM10.600 10.600 14 14',
  back: 'M10 3 5 8l5 5',
  theme: 'M8 2v1M8 13v1M2 8h1M13 8h1M4 4l.5.5M11.500 11.500l.5.5M4 12l.5-.5M11.500 4.500l.5-.5M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6z',
  out: 'M6 3H3v10h10v-3M9 3h4v4M13 3 7.500 8.500',
  retry: 'M13 8a5 5 0 1 1-1.500-3.500L13 6M13 2.500V6H9.500',
  cancel: 'M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2zM4 4l8 8',
  help: 'M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2zM6.300 6.200a1.800 1.800 0 1 1 2.600 1.600c-.6.3-.9.7-.9 1.300M8 11.200h.01',
};

function svg(children, size, className) {
  const root = document.createElementNS(SVG, 'svg');
  root.setAttribute('viewBox', '0 0 16 16');
  root.setAttribute('width', size);
  root.setAttribute('height', size);
  root.setAttribute('aria-hidden', 'true');
  root.setAttribute('class', className);
  for (const [name, attributes] of children) {
    const child = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) child.setAttribute(key, value);
    root.append(child);
  }
  return root;
}

const LINE = { fill: 'none', stroke: 'currentColor', 'stroke-width': 1.4, 'stroke-linecap': 'round', 'stroke-linejoin': 'round' };

export function icon(name, size = 16) {
  return svg([['path', { d: PATHS[name], ...LINE }]], size, 'icon');
}

const ring = (extra) => ['circle', { cx: 8, cy: 8, r: 5.5, ...LINE, 'stroke-width': 1.6, ...extra }];
const disc = (extra) => ['circle', { cx: 8, cy: 8, r: 6.2, fill: 'currentColor', ...extra }];
const inside = (d) => ['path', { d, ...LINE, stroke: 'var(--panel)', 'stroke-width': 1.7 }];

// Returns the mark of a state; that of a running request fills with its percentage.
export function mark(state, percent = 0) {
  const length = 2 * Math.PI * 5.5;
  const marks = {
    started: ['run', [ring({ 'stroke-dasharray': '2.2 2.1' })]],
    generating: ['run', [ring({ stroke: 'var(--line2)' }), ring({ 'stroke-dasharray': `${length * percent / 100} ${length}`, transform: 'rotate(-90 8 8)' })]],
    completed: ['ok', [disc(), inside('M5.200 8.200 7.200 10.200 10.900 6.200')]],
    failed: ['bad', [['path', { d: 'M5.500 1.800h5L14.200 5.500v5L10.500 14.200h-5L1.800 10.500v-5z', fill: 'currentColor' }], inside('M6 6l4 4M10 6l-4 4')]],
    cancelled: ['dim', [ring(), ['path', { d: 'M4.200 11.800 11.800 4.200', ...LINE, 'stroke-width': 1.6 }]]],
    rejected: ['warn', [['path', { d: 'M8 1.800 14.200 8 8 14.200 1.800 8z', ...LINE, 'stroke-width': 1.6 }], ['path', { d: 'M8 5.300v3.200M8 10.600v.01', ...LINE, 'stroke-width': 1.7 }]]],
    warn: ['warn', [['path', { d: 'M8 2 14.500 13.500h-13z', ...LINE, 'stroke-width': 1.6 }], ['path', { d: 'M8 6.500v3M8 11.600v.01', ...LINE, 'stroke-width': 1.6 }]]],
    unknown: ['dim', [ring({ 'stroke-dasharray': '1 2' })]],
  };
  const [colour, parts] = marks[state] ?? marks.unknown;
  return svg(parts, 16, `mark ${colour}`);
}

// Returns a small line of the numbers.
export function spark(values, size = [56, 18]) {
  const most = Math.max(...values, 1);
  const points = values.map((value, at) => {
    const x = at / (values.length - 1) * (size[0] - 2) + 1;
    return `${x.toFixed(1)},${(size[1] - 2 - value / most * (size[1] - 4)).toFixed(1)}`;
  });
  const line = svg([['polyline', { points: points.join(' '), ...LINE, 'stroke-width': 1.2 }]], size[0], 'spark');
  line.setAttribute('viewBox', `0 0 ${size[0]} ${size[1]}`);
  line.setAttribute('height', size[1]);
  return line;
}
