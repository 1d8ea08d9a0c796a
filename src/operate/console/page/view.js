// What all views share: elements, texts for people, and calls of the API. Everything from the server becomes text, never markup.

// Creates an element. Attributes that are functions become listeners; null and false are left out.
export function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === 'function') element.addEventListener(name.slice(2), value);
    else if (name === 'style') for (const [key, part] of Object.entries(value)) element.style.setProperty(key, part);
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function replace(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
}

// Calls the API; throws an error with the server's sentence.
export async function api(path, options = {}) {
  let answer;
  try {
    answer = await fetch(`/api/v1${path}`, options);
  } catch {
    throw new Error('the console does not answer');
  }
  const body = answer.status === 204 ? {} : await answer.json().catch(() => ({}));
  if (answer.ok) return body;
  const error = new Error(body.error ?? `the console answered ${answer.status}`);
  error.status = answer.status;
  throw error;
}

export const post = (path, body, method = 'POST') => api(path, {
  method,
  headers: { 'content-type': 'application/json', 'x-genflow-console': '1' },
  body: JSON.stringify(body ?? {}),
});

// A span of milliseconds in words: 350 ms, 4.2 s, 1 m 09 s, 2 h 05 m, 3 d.
export function span(millis) {
  const seconds = millis / 1000;
  const two = (number) => String(Math.floor(number)).padStart(2, '0');
  if (millis < 1000) return `${Math.max(0, Math.round(millis))} ms`;
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} m ${two(seconds % 60)} s`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${two(seconds % 3600 / 60)} m`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor(seconds % 86400 / 3600)} h`;
}

// How long ago, with the time itself in a tooltip.
export function ago(millis, at = Date.now()) {
  return h('time', { datetime: new Date(millis).toISOString(), title: utc(millis) }, span(Math.max(0, at - millis)));
}

export const utc = (millis) => `${new Date(millis).toISOString().replace('T', ' ').slice(0, 23)} UTC`;
export const number = (value) => value.toLocaleString('en-US');
export const usd = (value) => value === null || value === undefined ? '–' : `$${value < 0.1 && value > 0 ? value.toFixed(4) : value.toFixed(2)}`;
export const bytes = (count) => count < 1024 ? `${count} B` : count < 1048576 ? `${(count / 1024).toFixed(1)} kB` : `${(count / 1048576).toFixed(1)} MB`;
export const plural = (count, noun) => `${number(count)} ${noun}${count === 1 ? '' : 's'}`;
export const title = (text) => text.charAt(0).toUpperCase() + text.slice(1).toLowerCase();

export function toast(text) {
  const place = document.getElementById('toast');
  place.textContent = text;
  place.className = 'shown';
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => { place.className = ''; }, 5000);
}

// A link to another view, which opens without loading the page again.
export function link(href, attributes, ...children) {
  return h('a', { href, ...attributes }, ...children);
}

export function panel(heading, extra, ...children) {
  return h('section', { class: 'panel' }, h('header', null, h('h2', null, heading), extra), ...children);
}

export function facts(pairs) {
  const known = pairs.filter(([, value]) => value !== null && value !== undefined && value !== '');
  return h('dl', { class: 'kv' }, known.map(([name, value]) => [h('dt', null, name), h('dd', null, value)]));
}

export function failure(error, again) {
  return h('div', { class: 'empty', role: 'alert' }, h('h2', null, 'This cannot be shown'), h('p', null, error.message),
    h('button', { class: 'btn', type: 'button', onclick: again }, 'Try again'));
}

export const loading = () => h('p', { class: 'empty', 'aria-busy': 'true' }, 'Loading …');
