// One request: where its time went, what happened, what it made, and what it cost.

import { act } from './actions.js';
import { icon, mark } from './icons.js';
import { ago, api, bytes, facts, failure, h, link, loading, panel, plural, replace, span, title, usd, utc } from './view.js';

const STATE_OF = { STARTED: 'started', PROGRESS: 'generating', COMPLETED: 'completed', FAILED: 'failed', CANCELLED: 'cancelled', REJECTED: 'rejected' };
const SOURCES = { PROVIDER: 'the provider’s price', METERED: 'the provider’s quantities at genflow’s prices', ESTIMATE: 'estimated' };

export function showDetail(main, session, go, id) {
  replace(main, loading());
  let timer = null;

  async function load() {
    try {
      draw(await api(`/requests/${encodeURIComponent(id)}`));
    } catch (error) {
      replace(main, failure(error, load));
    }
  }

  function draw(found) {
    const { row } = found;
    const events = found.events.value ?? [];
    const receipts = found.receipts.value ?? [];
    const timeline = found.timeline.value;
    const last = events.findLast((event) => event.result) ?? events.at(-1);
    const result = last?.result;
    const spec = timeline?.spec;
    const spans = spansOf(row, timeline, receipts);
    replace(main,
      head(row, spec, found.trace_url),
      numbers(row, timeline, receipts, result),
      h('div', { class: 'cols' },
        h('div', { class: 'stack' },
          waterfall(spans, row),
          happened(events, receipts, timeline, found),
          result?.sent || result?.notes?.length ? sent(result) : null),
        h('div', { class: 'stack' },
          result?.outputs?.length ? pictures(found.run, result.outputs) : null,
          last?.error ? problems(last.error) : null,
          spec ? request(spec) : null,
          where(row, found, result, timeline))));
  }

  function head(row, spec, trace) {
    const prompt = spec && (Object.values(spec).find((part) => part?.prompt)?.prompt ?? spec.prompt);
    const temporal = session.temporal_ui && `${session.temporal_ui.replace(/\/$/, '')}/namespaces/${encodeURIComponent(session.namespace)}/workflows/${encodeURIComponent(row.retry ? `${row.id}~${row.retry}` : row.id)}`;
    return h('div', { class: 'dh' },
      h('div', null,
        h('div', { class: 'row wrap' }, link('/', { class: 'btn icon quiet', 'aria-label': 'Back to the list' }, icon('back')),
          h('span', { class: 'mono' }, row.id), h('span', { class: 'st' }, mark(row.state, row.percent), title(row.state)),
          row.retry ? h('span', { class: 'tag' }, `retry ${row.retry}`) : null),
        h('h1', null, prompt ?? row.id),
        h('p', { class: 'meta' }, h('span', null, title(row.kind)), h('span', null, 'for ', link(`/?user=${encodeURIComponent(row.user)}`, { class: 'lk' }, row.user)),
          row.model ? h('span', null, `${row.model} by ${row.provider}`) : null,
          row.batch ? h('span', null, 'item of ', link(`/requests/${encodeURIComponent(row.batch)}`, { class: 'lk' }, row.batch)) : null,
          h('span', null, ago(row.created), ' ago'))),
      h('div', { class: 'acts' },
        temporal ? h('a', { class: 'btn', href: temporal, rel: 'noreferrer' }, 'Temporal', icon('out', 13)) : null,
        trace ? h('a', { class: 'btn trace', href: trace, rel: 'noreferrer' }, 'Trace', icon('out', 13)) : null,
        row.kind === 'BATCH' ? link(`/?batch=${encodeURIComponent(row.id)}`, { class: 'btn' }, 'Items') : null,
        row.ended === null
          ? h('button', { class: 'btn act', type: 'button', disabled: !session.can_act, onclick: () => act('cancel', { ids: [row.id] }, load) }, icon('cancel', 14), 'Cancel…')
          : h('button', { class: 'btn act', type: 'button', disabled: !session.can_act, onclick: () => act('retry', { ids: [row.id] }, load) }, icon('retry', 14), 'Retry…')));
  }

  function numbers(row, timeline, receipts, result) {
    const delivered = receipts.filter((receipt) => receipt.outcome === 'DELIVERED').length;
    const submits = timeline?.steps.filter((step) => step.name.startsWith('submit')).reduce((sum, step) => sum + Math.max(1, step.attempts), 0);
    const size = result?.outputs?.reduce((sum, output) => sum + output.bytes, 0);
    const cell = (name, value, more) => h('div', null, h('dt', null, name), h('dd', null, value, more ? h('small', null, ` ${more}`) : null));
    return h('dl', { class: 'facts panel' },
      cell(row.ended === null ? 'Age' : 'Total', span((row.ended ?? Date.now()) - row.created)),
      cell('Progress', row.items ? `${row.items.completed} of ${row.items.total}` : `${row.percent} %`, row.stage ?? ''),
      submits ? cell('Submits', submits, submits === 1 ? 'attempt' : 'attempts') : null,
      cell('Cost', usd(row.cost_usd), result?.cost_source ? SOURCES[result.cost_source] : row.state === 'completed' && row.kind !== 'BATCH' ? 'not known' : ''),
      result ? cell('Outputs', result.outputs.length, bytes(size)) : null,
      receipts.length ? cell('Delivered', `${delivered} of ${receipts.length}`) : null);
  }

  // What happened from when to when. Waiting always has a name.
  function spansOf(row, timeline, receipts) {
    const spans = [];
    const names = { submit: 'Submit', fetch: 'Provider', finish: 'Finish' };
    for (const step of timeline?.steps ?? []) {
      const name = names[step.name.split('.')[0]] ?? step.name;
      const began = step.started_at ?? Date.now();
      if (began - step.scheduled_at > 50) spans.push({ name, from: step.scheduled_at, to: began, kind: 'wait', label: step.attempts > 1 ? `waited, ${step.attempts} attempts` : 'waited for a worker' });
      if (step.started_at) spans.push({ name, from: began, to: step.ended_at ?? Date.now(), kind: step.outcome === 'done' ? 'work' : step.outcome === 'open' ? 'soft' : 'badd', label: step.failure ?? '' });
    }
    for (const receipt of receipts) {
      const kind = receipt.outcome === 'DELIVERED' ? 'okk' : 'badd';
      spans.push({ name: title(receipt.channel), from: receipt.first_try_at || receipt.ended_at, to: receipt.ended_at, kind, label: receipt.tries > 1 ? plural(receipt.tries, 'attempt') : '' });
    }
    if (!spans.length && row.ended !== null) spans.push({ name: 'Run', from: row.created, to: row.ended, kind: 'work', label: '' });
    return spans;
  }

  function waterfall(spans, row) {
    if (!spans.length) return null;
    const from = Math.min(row.created, ...spans.map((part) => part.from));
    const to = Math.max(from + 1, ...spans.map((part) => part.to));
    const at = (millis) => `${((millis - from) / (to - from) * 100).toFixed(2)}%`;
    const names = [...new Set(spans.map((part) => part.name))];
    const ticks = [0, 0.25, 0.5, 0.75].map((part) => h('span', { style: { left: `${part * 100}%` } }, span((to - from) * part)));
    const waited = spans.filter((part) => part.kind === 'wait').reduce((sum, part) => sum + part.to - part.from, 0);
    return panel('Where the time went',
      [h('span', { class: 'key' }, h('i', { class: 'sg' }), 'work'), h('span', { class: 'key' }, h('i', { class: 'sg wait' }), 'waiting'), h('span', { class: 'key' }, h('i', { class: 'sg badd' }), 'failed')],
      h('div', { class: 'wf' }, h('div', { class: 'ax' }, h('span'), h('div', null, ticks), h('span')),
        names.map((name) => {
          const own = spans.filter((part) => part.name === name);
          const took = own.reduce((sum, part) => sum + part.to - part.from, 0);
          return h('div', { class: 'r' }, h('span', { class: 'nm' }, name),
            h('div', { class: 'tr' }, own.map((part) => h('span', { class: `sg ${part.kind}`, title: `${part.label ? `${part.label}, ` : ''}${span(part.to - part.from)}`, style: { left: at(part.from), width: `max(3px, ${((part.to - part.from) / (to - from) * 100).toFixed(2)}%)` } }))),
            h('span', { class: 'du' }, span(took)));
        }),
        h('p', { class: 'sum' }, waited > 50 ? `Waited ${span(waited)} for a worker or between attempts.` : 'Nothing waited for a worker.')));
  }

  function happened(events, receipts, timeline, found) {
    const lines = [
      ...events.map((event) => ({ at: event.occurred_at, sign: mark(STATE_OF[event.type], event.progress?.percent), text: [h('b', null, event.type), ' ', said(event)], from: `event ${event.sequence}` })),
      ...receipts.map((receipt) => ({ at: receipt.ended_at, sign: mark(receipt.outcome === 'DELIVERED' ? 'completed' : receipt.outcome === 'GIVEN_UP' ? 'failed' : 'cancelled'), text: [`${title(receipt.channel)} to `, h('span', { class: 'mono' }, receipt.target), `: ${receipt.outcome.toLowerCase().replace('_', ' ')}`, receipt.status ? `, ${receipt.status}` : '', receipt.error ? `, ${receipt.error.message}` : '', `, ${plural(receipt.tries, 'attempt')} `, again(receipt)], from: 'notification' })),
      ...(timeline?.steps ?? []).filter((step) => step.failure).map((step) => ({ at: step.ended_at ?? step.started_at ?? step.scheduled_at, sign: mark('warn'), text: [`${step.name}, attempt ${step.attempts}: ${step.failure}`], from: step.outcome.replace('_', ' ') })),
    ].sort((a, b) => a.at - b.at);
    const began = lines[0]?.at ?? 0;
    const failed = [['events', found.events], ['notifications', found.receipts], ['Temporal', found.timeline]].filter(([, part]) => part.error);
    return panel('Events and attempts', h('span', { class: 'dim sm' }, began ? `${utc(began)} and on` : ''),
      failed.map(([name, part]) => h('p', { class: 'banner warn' }, `${name}: ${part.error}`)),
      h('ol', { class: 'steps' }, lines.map((line) => h('li', null,
        h('time', { class: 'mono dim', title: utc(line.at), datetime: new Date(line.at).toISOString() }, `+${span(line.at - began)}`), line.sign,
        h('span', { class: 'say' }, line.text), h('span', { class: 'dim sm' }, line.from)))));
  }

  function again(receipt) {
    const scope = { ids: [id], event: receipt.event_id, channel: receipt.channel, target_hash: receipt.target_hash };
    return h('button', { class: 'lk plain again', type: 'button', disabled: !session.can_act, onclick: () => act('resend', scope, load) }, 'Send again…');
  }

  function said(event) {
    if (event.progress) return `${event.progress.percent} %, ${event.progress.message ?? event.progress.stage}`;
    if (event.error) return `${event.error.code}: ${event.error.message}`;
    if (event.batch) return `${event.batch.completed} of ${event.batch.total} completed`;
    if (event.result) return 'the result is stored';
    return '';
  }

  function sent(result) {
    let input = result.sent ?? '';
    try { input = JSON.stringify(JSON.parse(input), null, 2); } catch { /* It is shown as it is. */ }
    return panel('What the model was sent', null,
      result.notes?.length ? h('table', { class: 'map' }, h('tbody', null, result.notes.map((note) => h('tr', null,
        h('td', { class: 'mono' }, note.field), h('td', null, h('span', { class: 'tag warn' }, note.type)), h('td', null, note.details))))) : null,
      h('pre', null, input || 'not recorded'));
  }

  function pictures(run, outputs) {
    return h('section', { class: 'panel pics' }, h('h2', { class: 'vh' }, 'Outputs'), outputs.map((output, at) => {
      const src = `/api/v1/media/${encodeURIComponent(run)}/${at}`;
      const size = output.width ? `${output.width} × ${output.height}` : null;
      const shown = output.content_type.startsWith('video/')
        ? h('video', { src, controls: true, preload: 'metadata', playsinline: true })
        : output.content_type.startsWith('image/') ? h('a', { href: src }, h('img', { src, alt: `Output ${at} of ${id}`, loading: 'lazy' })) : null;
      return h('figure', null, shown, h('figcaption', null, facts([
        ['Type', [output.content_type, size, output.duration_seconds && `${output.duration_seconds.toFixed(1)} s`].filter(Boolean).join(', ')],
        ['Size', bytes(output.bytes)], ['Stored', h('span', { class: 'mono' }, output.uri)], ['SHA-256', h('span', { class: 'mono' }, output.sha256)]])));
    }));
  }

  function problems(error) {
    return panel('Why it did not complete', h('span', { class: 'tag bad' }, error.code),
      h('p', { class: 'pad' }, error.message), h('p', { class: 'pad dim' }, error.retryable ? 'A retry may succeed.' : 'The same request would fail again.'),
      error.problems?.length ? h('ul', { class: 'pad' }, error.problems.map((problem) => h('li', null, h('b', { class: 'mono' }, problem.field),
        [problem.asked && ` is ${problem.asked}`, problem.allowed && `, expected ${problem.allowed}`, problem.hint && ` (${problem.hint})`].filter(Boolean).join('')))) : null);
  }

  function request(spec) {
    const own = spec.kind ? spec : Object.values(spec).length === 1 && typeof Object.values(spec)[0] === 'object' ? Object.values(spec)[0] : spec;
    return panel('Request', null, facts(Object.entries(own).map(([name, value]) =>
      [name.replaceAll('_', ' '), typeof value === 'object' ? h('code', { class: 'mono' }, JSON.stringify(value)) : String(value)])));
  }

  function where(row, found, result, timeline) {
    return panel('Ids', null, facts([
      ['Workflow', h('span', { class: 'mono' }, found.run)], ['Run', timeline && h('span', { class: 'mono' }, timeline.run_id)],
      ['Provider job', result && h('span', { class: 'mono' }, result.provider_job_id)], ['Began', utc(row.created)], ['Ended', row.ended && utc(row.ended)],
      ['Command line', h('code', { class: 'mono' }, `genflow status ${found.run}`)]]));
  }

  load();
  const soon = (ids) => {
    if (ids.includes(id) && !timer) timer = setTimeout(() => { timer = null; load(); }, 400);
  };
  return {
    request: (rows) => soon(rows.map((row) => row.id)),
    receipts: soon,
    reset: load,
    key(event) { if (event.key === 'u') go('/'); },
  };
}
