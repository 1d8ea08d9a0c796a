// The list of requests: filters in the address, rows that change in place. It is as high as all rows together, but only the rows around
// those that are seen are loaded and drawn.

import { act } from './actions.js';
import { icon, mark } from './icons.js';
import { ago, api, failure, h, link, loading, number, replace, span, title, usd } from './view.js';

const STATES = ['started', 'generating', 'completed', 'failed', 'cancelled', 'rejected'];
const KINDS = ['video', 'image', 'batch'];
const TIMES = [['', 'Any time'], ['600000', 'Last 10 minutes'], ['3600000', 'Last hour'], ['86400000', 'Last day']];
// Rows that are drawn, and how many of them are above those that are seen.
const LIMIT = 100;
const ABOVE = 35;
const REFRESH = 1500;

// Shows the list; returns what the stream calls when something changes.
export function showList(main, session, go) {
  const query = new URLSearchParams(location.search);
  const body = h('tbody');
  const parts = { tabs: h('div', { class: 'tabs', role: 'navigation', 'aria-label': 'States' }), codes: h('div', { class: 'tools' }), scope: h('span', { class: 'scope push' }), more: h('div', { class: 'more' }) };
  const picked = new Set();
  const rows = new Map();
  // The place of what is not drawn, above and below.
  const gaps = [h('tbody'), h('tbody')];
  let height = 44;
  let first = 0;
  let total = 0;
  let loads = null;
  let timer = null;

  const table = h('table', { class: 'reqs' },
    h('thead', null, h('tr', null,
      h('th', { class: 'pick' }, h('input', { type: 'checkbox', 'aria-label': 'Select all shown', onchange: (event) => pickAll(event.target.checked) })),
      h('th', { class: 'pic' }, h('span', { class: 'vh' }, 'Picture')),
      ...[['Request', ''], ['State', 'state'], ['Progress', 'progress'], ['Kind', 'kind'], ['User', 'user'], ['Model', 'model'], ['Cost', 'num cost'], ['Age', 'num age']]
        .map(([name, kind]) => h('th', { class: kind, scope: 'col' }, name)))),
    gaps[0], body, gaps[1]);
  replace(main, h('h1', { class: 'vh' }, 'Requests'), parts.tabs, tools(), parts.codes, h('div', { class: 'panel list' }, table, parts.more));
  replace(parts.more, loading());

  function tools() {
    const search = h('input', { type: 'search', id: 'q', placeholder: 'Id or user', 'aria-label': 'Id or user', value: query.get('q') ?? '', onchange: (event) => set('q', event.target.value.trim()) });
    const text = (name, label) => h('label', { class: `field short ${query.get(name) ? 'on' : ''}` }, h('span', { class: 'vh' }, label),
      h('input', { placeholder: label, value: query.get(name) ?? '', onchange: (event) => set(name, event.target.value.trim()) }));
    return h('div', { class: 'tools' },
      h('label', { class: 'field' }, icon('search', 14), search, h('kbd', null, '/')),
      select('kind', 'Kind', [['', 'Any kind'], ...KINDS.map((kind) => [kind, title(kind)])]),
      text('user', 'User'), text('model', 'Model'),
      select('last', 'Time', TIMES),
      query.get('batch') ? h('span', { class: 'tag run' }, `items of ${query.get('batch')}`) : null,
      [...query].length ? link('/', { class: 'btn quiet' }, 'Clear') : null,
      parts.scope,
      h('button', { class: 'btn act', type: 'button', disabled: !session.can_act, onclick: () => start('cancel') }, icon('cancel', 14), 'Cancel…'),
      h('button', { class: 'btn act', type: 'button', disabled: !session.can_act, onclick: () => start('retry') }, icon('retry', 14), 'Retry…'));
  }

  function select(name, label, choices) {
    const value = query.get(name) ?? '';
    return h('label', { class: `sel ${value ? 'on' : ''}` }, h('span', { class: 'vh' }, label),
      h('select', { onchange: (event) => set(name, event.target.value) }, choices.map(([key, text]) => h('option', { value: key, selected: key === value }, text))));
  }

  function set(name, value) {
    const changed = new URLSearchParams(location.search);
    if (value) changed.set(name, value); else changed.delete(name);
    go(`/?${changed}`);
  }

  // The query as the API takes it.
  function asked() {
    const sent = new URLSearchParams(query);
    const last = sent.get('last');
    sent.delete('last');
    if (last) sent.set('since', String(Date.now() - Number(last)));
    return sent;
  }

  // The first row to draw, by what is seen.
  function wanted() {
    const above = Math.floor(first - body.getBoundingClientRect().top / height);
    return Math.max(0, Math.min(above - ABOVE, total - LIMIT));
  }

  // Loads the rows to draw. While it loads, further calls make it load once more.
  async function load() {
    if (loads) { loads.again = true; return; }
    loads = { again: false };
    const from = wanted();
    const sent = asked();
    sent.set('limit', String(LIMIT));
    sent.set('offset', String(from));
    try {
      const found = await api(`/requests?${sent}`);
      rows.clear();
      for (const row of found.items) rows.set(row.id, row);
      first = from;
      total = found.total;
      draw(found);
      // Fewer match than before: load those that do.
      if (!rows.size && total) loads.again = true;
    } catch (error) {
      replace(parts.more, failure(error, load));
    }
    const { again } = loads;
    loads = null;
    if (again) load();
  }

  function scrolled() {
    if (!main.contains(table)) removeEventListener('scroll', scrolled);
    else if (Math.abs(wanted() - first) > ABOVE / 2 || (wanted() !== first && !rows.size)) load();
  }

  function draw(found) {
    const now = Date.now();
    const focused = body.contains(document.activeElement) ? document.activeElement.closest('tr').dataset.id : null;
    replace(body, [...rows.values()].map((row) => line(row, now)));
    if (focused !== null) drawn(focused)?.querySelector('a').focus({ preventScroll: true });
    height = body.firstElementChild?.getBoundingClientRect().height || height;
    [first, total - first - rows.size].forEach((count, at) => replace(gaps[at], count > 0 ? h('tr', { class: 'gap', 'aria-hidden': 'true' }, h('td', { colspan: 10, style: { height: `${count * height}px` } })) : null));
    const state = query.get('state') ?? '';
    const tab = (key, label, count, sign) => link(href('state', key), { 'aria-current': state === key ? 'page' : null }, sign, label, h('span', { class: 'n' }, number(count)));
    const all = Object.values(found.states).reduce((sum, count) => sum + count, 0);
    replace(parts.tabs, tab('', 'All', all), STATES.map((key) => tab(key, title(key), found.states[key] ?? 0, mark(key, 60))));
    replace(parts.codes, Object.entries(found.codes).sort((a, b) => b[1] - a[1]).map(([code, count]) =>
      link(href('code', query.get('code') === code ? '' : code), { class: `tag ${query.get('code') === code ? 'run' : 'bad'}` }, code, ` ${number(count)}`)));
    scope(found.total);
    replace(parts.more, h('span', null, rows.size ? number(total) : empty()));
  }

  function empty() {
    return [...query].length
      ? 'No request matches these filters.'
      : h('span', null, 'No request yet. Send one: ', h('code', { class: 'code' }, 'genflow submit image --prompt "a red fox" --watch'));
  }

  function scope(total) {
    scope.total = total ?? scope.total;
    parts.scope.textContent = picked.size ? `${number(picked.size)} selected` : `${[...query].length ? '' : 'all '}${number(scope.total ?? 0)}${[...query].length ? ' match' : ''}`;
  }

  function href(name, value) {
    const changed = new URLSearchParams(query);
    if (value) changed.set(name, value); else changed.delete(name);
    return `/?${changed}`;
  }

  function line(row, now) {
    const at = `/requests/${encodeURIComponent(row.id)}`;
    const box = h('input', { type: 'checkbox', 'aria-label': `Select ${row.id}`, onchange: (event) => pick(row.id, event.target.checked) });
    box.checked = picked.has(row.id);
    return h('tr', { 'data-id': row.id, class: picked.has(row.id) ? 'picked' : null, onclick: (event) => { if (!event.target.closest('a,input')) go(at); } },
      h('td', { class: 'pick' }, box),
      h('td', { class: 'pic' }, thumb(row)),
      h('td', { class: 'what' }, link(at, { class: 'mono cut', title: row.id }, row.id), row.batch ? link(`/?batch=${encodeURIComponent(row.batch)}`, { class: 'sm dim' }, `of ${row.batch}`) : null),
      h('td', { class: 'state' }, h('span', { class: 'st' }, mark(row.state, row.percent), title(row.state))),
      h('td', { class: 'progress' }, progress(row)),
      h('td', { class: 'kind' }, title(row.kind)),
      h('td', { class: 'user cut', title: row.user }, row.user),
      h('td', { class: 'model cut', title: row.model }, row.model ?? h('span', { class: 'dim' }, '–')),
      h('td', { class: 'num cost' }, usd(row.cost_usd)),
      h('td', { class: 'num age' }, ago(row.created, now)));
  }

  function progress(row) {
    if (row.state === 'failed' || row.state === 'rejected') return h('span', { class: 'mono bad' }, row.code ?? '');
    if (row.state === 'completed') return h('span', { class: 'dim' }, `took ${span(row.ended - row.created)}`);
    if (row.state === 'cancelled') return '';
    if (row.state === 'started') return h('span', { class: 'dim' }, 'no progress yet');
    return h('span', { class: 'row' }, h('span', { class: 'bar' }, h('i', { style: { width: `${row.percent}%` } })), `${row.percent} %`);
  }

  function thumb(row) {
    const run = row.retry ? `${row.id}~${row.retry}` : row.id;
    const picture = row.thumb === null ? icon(row.kind === 'VIDEO' ? 'video' : row.kind === 'BATCH' ? 'batches' : 'image')
      : h('img', { src: `/api/v1/media/${encodeURIComponent(run)}/${row.thumb}`, alt: '', loading: 'lazy', width: 32, height: 32 });
    return h('span', { class: `thumb ${row.state === 'generating' ? 'wait' : ''}` }, picture, row.outputs > 1 ? h('span', { class: 'cnt' }, row.outputs) : null);
  }

  function drawn(id) {
    return body.querySelector(`[data-id="${CSS.escape(id)}"]`);
  }

  function pick(id, on) {
    if (on) picked.add(id); else picked.delete(id);
    drawn(id)?.classList.toggle('picked', on);
    scope();
  }

  function pickAll(on) {
    for (const box of body.querySelectorAll('input')) {
      box.checked = on;
      pick(box.closest('tr').dataset.id, on);
    }
  }

  function start(verb) {
    const scoped = picked.size ? { ids: [...picked] } : { filter: Object.fromEntries(sentFilter()) };
    act(verb, scoped, () => { picked.clear(); load(); });
  }

  function sentFilter() {
    return [...asked()].map(([name, value]) => [name, ['since', 'until'].includes(name) ? Number(value) : value]);
  }

  load();
  addEventListener('scroll', scrolled, { passive: true });
  return {
    // Rows change in place at once; new ones, and the counts, are read a moment later.
    request(changed) {
      const now = Date.now();
      for (const row of changed) {
        if (!rows.has(row.id)) continue;
        rows.set(row.id, row);
        const old = drawn(row.id);
        const focused = old?.contains(document.activeElement);
        const fresh = line(row, now);
        old?.replaceWith(fresh);
        if (focused) fresh.querySelector('a').focus();
      }
      this.reset();
    },
    reset() {
      if (timer || picked.size || document.hidden) return;
      timer = setTimeout(() => { timer = null; if (main.contains(table) && !body.contains(document.activeElement)) load(); }, REFRESH);
    },
    receipts() {},
    key(event) {
      const at = body.contains(document.activeElement) ? document.activeElement.closest('tr') : null;
      const to = { j: at ? at.nextElementSibling : body.firstElementChild, k: at?.previousElementSibling }[event.key];
      if (to) to.querySelector('a').focus();
      if (event.key === 'x' && at) { const box = at.querySelector('input'); box.checked = !box.checked; pick(at.dataset.id, box.checked); }
      if (event.key === '/') { event.preventDefault(); document.getElementById('q').focus(); }
    },
  };
}
