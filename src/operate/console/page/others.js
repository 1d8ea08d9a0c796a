// Batches, dead letters, endpoints and the findings of doctor.

import { act } from './actions.js';
import { icon, mark } from './icons.js';
import { ago, api, bytes, facts, failure, h, link, loading, number, panel, plural, replace, title, utc } from './view.js';

const quiet = { request() {}, receipts() {}, reset() {}, key() {} };

// Loads and draws, and again after each failure; returns what loads anew. An answer that comes after the person has left is not drawn.
function view(main, heading, path, draw) {
  const top = h('h1', null, heading);
  replace(main, top, loading());
  const load = async () => {
    let shown;
    try {
      shown = draw(await api(path()), load);
    } catch (error) {
      shown = failure(error, load);
    }
    if (main.contains(top)) replace(main, top, shown);
  };
  load();
  return load;
}

function empty(text) {
  return h('div', { class: 'empty panel' }, h('p', null, text));
}

export function showBatches(main) {
  const load = view(main, 'Batches', () => '/requests?kind=batch&limit=200', (found) => found.items.length ? h('div', { class: 'panel list' }, h('table', null,
    h('thead', null, h('tr', null, ['Batch', 'State', 'Items', 'User', 'Age'].map((name) => h('th', { scope: 'col' }, name)))),
    h('tbody', null, found.items.map((row) => h('tr', null,
      h('td', null, link(`/requests/${encodeURIComponent(row.id)}`, { class: 'lk mono' }, row.id)),
      h('td', null, h('span', { class: 'st' }, mark(row.state, row.percent), title(row.state))),
      h('td', null, items(row)), h('td', null, row.user), h('td', null, ago(row.created))))))) : empty('No batch is known.'));
  let timer = null;
  const soon = () => { timer ??= setTimeout(() => { timer = null; load(); }, 1500); };
  return { ...quiet, request: (rows) => { if (rows.some((row) => row.kind === 'BATCH')) soon(); }, reset: soon };
}

function items(row) {
  const all = link(`/?batch=${encodeURIComponent(row.id)}`, { class: 'lk' }, row.items ? plural(row.items.total, 'item') : 'items');
  if (!row.items) return [all, ` ${row.percent} %`];
  const { completed, failed, cancelled, not_started: rest } = row.items;
  return [all, `: ${number(completed)} completed, ${number(failed)} failed, ${number(cancelled)} cancelled, ${number(rest)} not started`];
}

export function showLetters(main, session, go) {
  const query = new URLSearchParams(location.search);
  const topic = query.get('topic') ?? 'requests';
  const shown = h('div', { class: 'stack' });
  const picked = new Set();
  const filter = { reason: query.get('reason') ?? '', key: query.get('key') ?? '' };
  const at = (changed) => `/dead-letters?${new URLSearchParams({ topic, ...filter, ...changed })}`;
  const path = () => at({ q: query.get('q') ?? '' });
  view(main, 'Dead letters', path, (found, again) => {
    const redrive = h('button', { class: 'btn act push', type: 'button', disabled: !session.can_act, onclick: () => {
      // Only the list knows the text q; all other filters select more than the list shows.
      const scope = picked.size ? { ids: [...picked] } : query.get('q') ? { ids: found.items.map((letter) => letter.position) } : { filter };
      act('redrive', { ...scope, topic }, () => { picked.clear(); again(); });
    } }, icon('retry', 14), 'Redrive…');
    const key = h('label', { class: `field short ${filter.key ? 'on' : ''}` }, h('span', { class: 'vh' }, 'Key'),
      h('input', { placeholder: 'Key', value: filter.key, onchange: (event) => go(at({ key: event.target.value.trim() })) }));
    return [
      h('div', { class: 'tools' }, h('div', { class: 'tabs' }, [['requests', 'Requests and commands'], ['notifications', 'Notifications']].map(([name, text]) =>
        link(`/dead-letters?topic=${name}`, { 'aria-current': name === topic ? 'page' : null }, text))),
      Object.entries(found.reasons).map(([reason, count]) => link(at({ reason: filter.reason === reason ? '' : reason }), { class: `tag ${filter.reason === reason ? 'run' : 'bad'}` }, `${reason} ${number(count)}`)),
      key, found.items.length ? redrive : null),
      found.items.length ? h('div', { class: 'split' }, h('div', { class: 'panel list' }, h('table', null,
        h('thead', null, h('tr', null, ['', 'Position', 'Reason', 'Key', 'Why', 'Age'].map((name) => h('th', { scope: 'col' }, name || h('span', { class: 'vh' }, 'Select'))))),
        h('tbody', null, found.items.map((letter) => h('tr', null,
          h('td', { class: 'pick' }, h('input', { type: 'checkbox', 'aria-label': `Select ${letter.position}`, onchange: (event) => { if (event.target.checked) picked.add(letter.position); else picked.delete(letter.position); } })),
          h('td', null, h('button', { class: 'lk mono plain', type: 'button', onclick: () => open(letter.position) }, letter.position)),
          h('td', null, h('span', { class: 'tag bad' }, letter.reason)), h('td', { class: 'mono cut' }, letter.key ?? '–'), h('td', { class: 'cut', title: letter.error }, letter.error), h('td', { class: 'num' }, letter.at ? ago(letter.at) : '–'))))),
      found.total > found.items.length ? h('p', { class: 'more' }, `the newest ${number(found.items.length)} of ${number(found.total)}`) : null), shown)
        : empty('No dead letters. A record that intake or the notifier cannot use is moved here, with the reason.'),
    ];
  });

  async function open(position) {
    replace(shown, loading());
    try {
      const found = await api(`/dead-letters/${topic}/${position}`);
      const letter = found.letter;
      replace(shown, panel(`Dead letter ${letter.position}`, h('span', { class: 'tag bad' }, letter.reason),
        h('p', { class: 'pad' }, letter.error),
        facts([['From', letter.from && h('span', { class: 'mono' }, letter.from)], ['Key', letter.key && h('span', { class: 'mono' }, letter.key)], ['Attempts', String(letter.attempts)], ['Moved here', letter.at && utc(letter.at)], ['Size', bytes(found.bytes)], ['Unreadable', found.unreadable], ['Command line', h('code', { class: 'mono' }, `genflow dlq show ${letter.position}${topic === 'notifications' ? ' --notifications' : ''}`)]]),
        h('pre', null, found.value ? JSON.stringify(found.value, null, 2) : found.begins || 'no value')),
      panel('Headers', null, facts(found.headers.map(([name, value]) => [name, h('span', { class: 'mono' }, value)]))));
    } catch (error) {
      replace(shown, failure(error, () => open(position)));
    }
  }
  return { ...quiet, key(event) { if (event.key === 'u') go('/'); } };
}

export function showEndpoints(main, session) {
  const load = view(main, 'Endpoints', () => '/endpoints', (found) => found.items.length ? h('div', { class: 'panel list' }, h('table', null,
    h('thead', null, h('tr', null, ['Target', 'Channel', 'Last 24 hours', 'Delivered', 'Last answer', 'When', ''].map((name) => h('th', { scope: 'col' }, name || h('span', { class: 'vh' }, 'Test'))))),
    h('tbody', null, found.items.map((endpoint) => {
      const good = endpoint.delivered.reduce((sum, count) => sum + count, 0);
      const bad = endpoint.undelivered.reduce((sum, count) => sum + count, 0);
      const failing = endpoint.last.outcome === 'GIVEN_UP';
      return h('tr', null,
        h('td', { class: 'mono' }, endpoint.target), h('td', null, title(endpoint.channel)), h('td', null, hours(endpoint)),
        h('td', null, good + bad ? `${(good / (good + bad) * 100).toFixed(1)} % of ${number(good + bad)}` : '–'),
        h('td', null, h('span', { class: 'st' }, mark(failing ? 'failed' : endpoint.last.outcome === 'DELIVERED' ? 'completed' : 'cancelled'), [endpoint.last.outcome.toLowerCase().replace('_', ' '), endpoint.last.status].filter(Boolean).join(', ')), endpoint.last.error ? h('div', { class: 'sm dim' }, endpoint.last.error) : null),
        h('td', null, ago(endpoint.last.at), ' ago, ', link(`/requests/${encodeURIComponent(endpoint.last.request_id)}`, { class: 'lk mono' }, endpoint.last.request_id)),
        h('td', null, endpoint.channel === 'WEBHOOK' ? h('button', { class: 'btn test', type: 'button', disabled: !session.can_act, 'aria-label': `Test ${endpoint.target}`, onclick: () => act('test', { channel: endpoint.channel, target_hash: endpoint.target_hash }, load) }, 'Test…') : null));
    })))) : empty('No notification has ended yet. Requests name their targets: webhook_url, notify_email, notify_slack.'));
  let timer = null;
  const soon = () => { timer ??= setTimeout(() => { timer = null; load(); }, 2000); };
  return { ...quiet, receipts: soon, reset: soon };
}

function hours(endpoint) {
  const most = Math.max(1, ...endpoint.delivered.map((count, at) => count + endpoint.undelivered[at]));
  const all = endpoint.delivered.map((good, at) => {
    const bad = endpoint.undelivered[at];
    return h('i', { class: bad ? 'bad' : good ? 'ok' : '', style: { height: `${Math.max(2, (good + bad) / most * 20)}px` }, title: `${23 - at} h ago: ${good} delivered, ${bad} not` });
  });
  return h('span', { class: 'hours', role: 'img', 'aria-label': 'Deliveries in each of the last 24 hours' }, all);
}

export function showDoctor(main) {
  let fresh = false;
  const load = view(main, 'Doctor', () => `/doctor?fresh=${fresh}`, (found) => {
    const bad = found.checks.filter((check) => check.verdict !== 'ok');
    const line = (check) => h('li', null, mark({ ok: 'completed', warn: 'warn', FAIL: 'failed' }[check.verdict] ?? 'unknown'),
      h('span', { class: 'say' }, h('b', null, check.check), ' ', check.found, check.advice ? h('span', { class: 'advice' }, check.advice) : null), h('span', { class: 'dim sm' }, check.verdict));
    return [h('div', { class: 'tools' }, h('span', { class: 'sub' }, `${plural(found.checks.length, 'check')}, `, ago(found.at), ' ago'),
      h('button', { class: 'btn push', type: 'button', onclick: () => { fresh = true; load().finally(() => { fresh = false; }); } }, icon('retry', 14), 'Check again')),
    bad.length ? panel('To look at', null, h('ul', { class: 'steps' }, bad.map(line))) : panel('Everything is as it should be', null),
    h('details', { class: 'panel' }, h('summary', null, `${plural(found.checks.length - bad.length, 'check')} passed`), h('ul', { class: 'steps' }, found.checks.filter((check) => check.verdict === 'ok').map(line)))];
  });
  return quiet;
}
