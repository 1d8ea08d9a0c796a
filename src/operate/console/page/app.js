// The frame of the console: views by address, the strip of numbers, the stream of changes, keys and themes.

import { signIn } from './actions.js';
import { showDetail } from './detail.js';
import { icon, mark, spark } from './icons.js';
import { showList } from './list.js';
import { showBatches, showDoctor, showEndpoints, showLetters } from './others.js';
import { api, h, link, number, plural, post, replace, span, usd, utc } from './view.js';

const main = document.getElementById('main');
const strip = h('div', { class: 'strip panel', id: 'strip' });
const shown = h('div', { id: 'view' });
const notice = h('div', { id: 'notice' });
const live = h('span', { class: 'live off', role: 'status' }, h('i', { class: 'pulse' }), h('span', null, 'Connecting'));

const VIEWS = [
  ['/', 'Requests', 'requests', showList],
  ['/batches', 'Batches', 'batches', showBatches],
  ['/dead-letters', 'Dead letters', 'letters', showLetters],
  ['/endpoints', 'Endpoints', 'endpoints', showEndpoints],
  ['/doctor', 'Doctor', 'doctor', showDoctor],
];
const SAVED = [['/?state=open', 'Running'], ['/?state=failed&last=3600000', 'Failed, last hour'], ['/?code=submit_ambiguous', 'Ambiguous submits'], ['/?state=open&kind=video', 'Videos in work']];

let session = null;
let current = { request() {}, receipts() {}, reset() {}, key() {} };
let stats = null;
let engines = { value: '…', why: 'being checked' };
let backlog = { records: {}, runs: {} };

function go(href) {
  history.pushState(null, '', href);
  route();
}

function route() {
  const path = decodeURIComponent(location.pathname);
  const id = path.startsWith('/requests/') ? path.slice('/requests/'.length) : null;
  const found = VIEWS.find(([at]) => at === path) ?? VIEWS[0];
  strip.hidden = id !== null || path !== '/';
  current = id ? showDetail(shown, session, go, id) : found[3](shown, session, go);
  document.title = id ? `${id} – genflow` : `${found[1]} – genflow`;
  frame(id ? '/' : found[0], id ? 'Requests' : found[1]);
  window.scrollTo(0, 0);
}

function frame(at, name) {
  const count = { '/': stats?.requests.running, '/endpoints': stats?.endpoints.failing };
  const here = location.pathname + location.search;
  replace(document.getElementById('rail'),
    link('/', { class: 'brand' }, h('img', { src: '/icon.svg', width: 20, height: 20, alt: '' }), 'genflow'),
    VIEWS.map(([href, text, sign]) => link(href, { class: 'nav', 'aria-current': href === at && here !== '/?' ? 'page' : null }, icon(sign), h('span', null, text),
      count[href] ? h('span', { class: `n ${href === '/endpoints' ? 'bad' : ''}` }, number(count[href])) : null)),
    h('div', { class: 'hd' }, 'Saved views'),
    SAVED.map(([href, text]) => link(href, { class: 'nav saved' }, h('span', null, text))),
    h('div', { class: 'foot sm dim' }, session?.can_act ? `Signed in as ${session.name}` : 'Read-only', h('br'), `genflow ${session?.version ?? ''}`,
      session?.name && session.needs_key ? [h('br'), h('button', { class: 'lk plain', type: 'button', onclick: leave }, 'Sign out')] : null));
  replace(document.getElementById('top'), h('span', { class: 'here' }, name), h('span', { class: 'push' }), live,
    h('button', { class: 'btn icon quiet', type: 'button', 'aria-label': 'Change the theme', onclick: theme }, icon('theme')),
    h('button', { class: 'btn icon quiet', type: 'button', 'aria-label': 'Keys', onclick: help }, icon('help')));
}

async function leave() {
  await post('/session', {}, 'DELETE');
  location.reload();
}

function drawStrip() {
  const { requests, endpoints, known, dead_letters: letters } = stats;
  const tile = (href, name, value, why, extra) => link(href, { class: 'tile', 'aria-current': location.search && location.pathname + location.search === href ? 'page' : null },
    h('span', { class: 'l' }, name), h('span', { class: 'v' }, value, extra), h('span', { class: 's' }, why));
  const ended = requests.completed + requests.failed;
  const most = Object.entries(requests.codes).sort((a, b) => b[1] - a[1])[0];
  const kinds = Object.entries(requests.running_by_kind).map(([kind, count]) => `${number(count)} ${kind.toLowerCase()}`).join(', ');
  const oldest = requests.oldest;
  replace(strip,
    tile('/?state=open', 'Running', number(requests.running), kinds || 'nothing runs'),
    tile('/?state=started', 'Waiting', number(requests.started + (backlog.records.value ?? 0) + (backlog.runs.value ?? 0)), waiting(requests)),
    tile(oldest ? `/requests/${encodeURIComponent(oldest.id)}` : '/?state=open', 'Oldest unfinished', oldest ? span(stats.now - oldest.created) : '–', oldest ? `${oldest.id}, ${oldest.percent} %` : 'none'),
    tile('/?state=completed&last=3600000', 'Completed, 1 h', number(requests.completed), ended ? `${(requests.completed / ended * 100).toFixed(1)} % of ended` : 'none', spark(requests.completed_by_minute)),
    tile('/?state=failed&last=3600000', 'Failed, 1 h', h('span', { class: requests.failed ? 'bad' : '' }, number(requests.failed)), most ? `${number(most[1])} ${most[0]}` : 'none', spark(requests.failed_by_minute)),
    tile('/?state=rejected', 'Rejected, 1 h', number(requests.rejected), `${number(requests.cancelled)} cancelled`),
    tile('/?state=completed&last=86400000', 'Spent today', usd(requests.spent_today_usd), h('span', { title: requests.unpriced_month ? `${number(requests.unpriced_month)} without a known cost` : null }, `${usd(requests.spent_month_usd)} since ${utc(requests.month_from).slice(5, requests.month_from % 86400000 ? 16 : 10)}`)),
    tile('/endpoints', 'Endpoints failing', h('span', { class: endpoints.failing ? 'bad' : '' }, number(endpoints.failing)), `of ${number(endpoints.all)} known`),
    tile('/dead-letters', 'Dead letters, 1 h', h('span', { class: letters.last_hour ? 'bad' : '' }, number(letters.last_hour)), `${number(letters.requests + letters.notifications)} since ${utc(known.since).slice(0, 10)}`),
    tile('/doctor', 'Engines', engines.value, engines.why));
  const [requestLetters, deliveryLetters] = letters.reading;
  const reading = [['gen.events', known.events], ['gen.notifications', known.receipts], ['gen.requests.dlq', requestLetters], ['gen.notifications.dlq', deliveryLetters]];
  const failed = reading.filter(([, it]) => it.state === 'failed').map(([name, it]) => h('p', { class: 'banner' }, mark('failed'), `${name} cannot be read: ${it.why}`));
  const behind = reading.some(([, it]) => it.state === 'catching_up') ? h('p', { class: 'banner warn' }, mark('warn'), `Reading events since ${utc(known.since)}: ${number(known.requests)} requests so far.`) : null;
  const forgotten = known.forgotten ? h('p', { class: 'banner warn' }, `The ${number(known.requests)} newest requests are known; ${number(known.forgotten)} older ones are forgotten (CONSOLE_REQUESTS).`) : null;
  replace(notice, failed, behind, forgotten);
}

// Says what waits, where, and for how long if it waits for intake.
function waiting(requests) {
  const unknown = [backlog.records, backlog.runs].find((it) => it.error);
  const { value: records, oldest } = backlog.records;
  const intake = oldest ? `for intake, oldest ${span(stats.now - oldest)}` : 'for intake';
  const parts = [[requests.started, 'without progress'], [backlog.runs.value, 'for a worker'], [records, intake]].filter(([count]) => count);
  return h('span', { title: unknown?.error }, unknown ? 'some are not known' : parts.map(([count, where]) => `${number(count)} ${where}`).join(', ') || 'none');
}

// Asked only while the page is seen, like the doctor.
async function lookBack() {
  if (document.hidden) return;
  try {
    backlog = await api('/backlog');
  } catch (error) {
    backlog = { records: { error: error.message }, runs: {} };
  }
  if (stats) drawStrip();
}

// The doctor calls every engine, so it is asked once a minute, and only while the page is seen.
async function examine() {
  if (document.hidden) return;
  try {
    const { checks } = await api('/doctor');
    const wrong = checks.filter((check) => check.verdict === 'FAIL');
    const warnings = checks.filter((check) => check.verdict === 'warn');
    engines = wrong.length
      ? { value: h('span', { class: 'bad' }, plural(wrong.length, 'fault')), why: wrong[0].check }
      : { value: 'OK', why: warnings.length ? plural(warnings.length, 'warning') : `${number(checks.length)} checks` };
  } catch (error) {
    engines = { value: '–', why: error.message };
  }
  if (stats) drawStrip();
}

function connect() {
  const stream = new EventSource('/api/v1/stream');
  const on = (name, take) => stream.addEventListener(name, (event) => take(JSON.parse(event.data)));
  const say = (className, text) => { live.className = `live ${className}`; live.lastChild.textContent = text; };
  stream.onopen = () => say('', 'Live');
  stream.onerror = () => say('lost', 'Connection lost');
  on('request', ({ items }) => current.request(items));
  on('receipts', ({ ids }) => current.receipts(ids));
  on('reset', () => current.reset());
  on('stats', (numbers) => { stats = numbers; drawStrip(); });
}

function theme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
  root.dataset.theme = dark ? 'light' : 'dark';
  try { localStorage.setItem('theme', root.dataset.theme); } catch { /* Without storage, the choice lasts for this page. */ }
}

function help() {
  const keys = [['/', 'search'], ['j k', 'next and previous row'], ['Enter', 'open'], ['x', 'select'], ['u', 'back to the list'], ['g r, g b, g d, g e, g o', 'views'], ['t', 'theme'], ['Esc', 'close']];
  const box = h('dialog', { class: 'dialog', 'aria-label': 'Keys', onclose: () => box.remove() }, h('h2', null, 'Keys'),
    h('dl', { class: 'kv' }, keys.map(([key, text]) => [h('dt', null, h('kbd', null, key)), h('dd', null, text)])),
    h('button', { class: 'btn', type: 'button', onclick: () => box.close() }, 'Close'));
  document.body.append(box);
  box.showModal();
}

let leader = 0;
document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest('input,select,textarea,dialog')) return;
  if (Date.now() - leader < 1000) {
    leader = 0;
    const to = { r: '/', b: '/batches', d: '/dead-letters', e: '/endpoints', o: '/doctor' }[event.key];
    if (to) go(to);
    return;
  }
  if (event.key === 'g') leader = Date.now();
  else if (event.key === 't') theme();
  else if (event.key === '?') help();
  else current.key(event);
});

// Links to views open without loading the page again.
document.addEventListener('click', (event) => {
  const to = event.target.closest('a[href]');
  if (!to || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const url = new URL(to.href);
  if (url.origin !== location.origin || url.pathname.startsWith('/api/') || to.classList.contains('skip')) return;
  event.preventDefault();
  go(url.pathname + url.search);
  main.focus({ preventScroll: true });
});
addEventListener('popstate', route);

async function start() {
  try { document.documentElement.dataset.theme = localStorage.getItem('theme') ?? ''; } catch { /* The system's theme. */ }
  session = await api('/session');
  if (session.needs_key && !session.name) {
    document.body.classList.add('signed-out');
    signIn(main, () => location.reload());
    return;
  }
  replace(main, notice, strip, shown);
  route();
  connect();
  examine();
  setInterval(examine, 60000);
  lookBack();
  setInterval(lookBack, 10000);
}
start();
