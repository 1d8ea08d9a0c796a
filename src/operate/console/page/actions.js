// What a person can do, such as cancel, retry and redrive: each first as a dry run, in a dialog whose focus is on the safe button. And signing in.

import { h, plural, post, replace, span, toast, usd } from './view.js';

const WORDS = {
  cancel: { title: 'Cancel', noun: 'request', sent: 'cancelled', warning: 'What the provider has already made may still be billed.' },
  retry: { title: 'Retry', noun: 'request', sent: 'sent again', warning: 'Each retry is a new paid job.' },
  redrive: { title: 'Redrive', noun: 'dead letter', sent: 'sent again', warning: 'Records are sent again as they are; a request that ran already is recognised by its id.' },
  resend: { title: 'Send again', ask: (count) => `Send ${plural(count, 'notification')} again`, noun: 'notification', sent: 'sent again', warning: 'It has the same webhook-id as before, by which the receiver recognises the repeat.' },
  test: { title: 'Test', ask: () => 'Send a test', noun: 'test', sent: 'sent', warning: 'The endpoint gets one signed webhook of the type genflow.test, which says that it is a test.' },
};
// Those that take a reason, and those that the command line has under the same name.
const WITH_REASON = ['cancel', 'retry'];
const COMMANDS = { cancel: 'cancel', retry: 'retry', resend: 'notifications resend' };

function dialog(label, ...children) {
  const box = h('dialog', { class: 'dialog', 'aria-label': label, onclose: () => box.remove() }, children);
  document.body.append(box);
  box.showModal();
  return box;
}

function cost(plan) {
  if (plan.usual_cost_usd === null) return 'What they will cost is not known.';
  return `${plan.would === 1 ? 'One like this usually costs' : 'Together such requests usually cost'} ${usd(plan.usual_cost_usd)}.`;
}

// Asks what an action would do, shows it, and does it if the person agrees; then calls `done`.
export async function act(verb, scope, done) {
  const words = WORDS[verb];
  let plan;
  try {
    plan = await post('/actions', { verb, ...scope, dry_run: true });
  } catch (error) {
    toast(error.message);
    return;
  }
  const ask = words.ask?.(plan.would) ?? `${words.title} ${plural(plan.would, words.noun)}`;
  const left = Object.entries(plan.left).map(([why, count]) => h('li', null, `${plural(count, words.noun)} left out: ${why}`));
  const reason = !WITH_REASON.includes(verb) ? null : h('input', { name: 'reason', maxlength: 500, 'aria-label': 'Reason' });
  const safe = h('button', { class: 'btn', type: 'button', autofocus: true, onclick: () => box.close() }, plan.would ? 'Do nothing' : 'Close');
  const go = h('button', { class: `btn ${verb === 'cancel' ? 'danger' : 'pri'}`, type: 'button', onclick: run }, ask);
  const ids = plan.ids ?? scope.ids ?? [];
  const box = dialog(words.title,
    h('h2', null, `${ask}?`),
    left.length ? h('ul', { class: 'sub' }, left) : null,
    plan.would ? h('p', { class: 'sub' }, words.warning, verb === 'retry' ? ` ${cost(plan)}` : null) : null,
    plan.would && reason ? h('label', { class: 'field' }, 'Reason', reason) : null,
    ids.length === 1 && COMMANDS[verb] ? h('pre', null, `genflow ${COMMANDS[verb]} ${ids[0]}${verb === 'resend' ? ` --event ${scope.event} --channel ${scope.channel.toLowerCase()}` : ''}`) : null,
    h('div', { class: 'row' }, safe, plan.would ? go : null));

  async function run() {
    go.disabled = true;
    safe.disabled = true;
    try {
      // What the dry run has shown, and not what a filter matches by now.
      const shown = scope.filter && plan.ids ? { ids: plan.ids, filter: null } : {};
      const answer = await post('/actions', { verb, ...scope, ...shown, expect: plan.would, reason: reason?.value || null });
      toast(summary(answer, words));
      done();
    } catch (error) {
      toast(error.message);
    }
    box.close();
  }
}

// Says what an action has done.
function summary({ sent, left, test }, words) {
  if (test) return test.delivered ? `The endpoint answered ${test.status} after ${span(test.took_ms)}.` : `The test was not delivered: ${test.error.message}.`;
  return [`${plural(sent, words.noun)} ${words.sent}`, ...Object.entries(left ?? {}).map(([why, count]) => `${count} left out: ${why}`)].join(', ');
}

// Shows the form that asks for a key; calls `done` after it was accepted.
export function signIn(main, done) {
  const key = h('input', { type: 'password', name: 'key', autocomplete: 'current-password', 'aria-label': 'Key', required: true });
  const fault = h('p', { class: 'bad', role: 'alert' });
  const form = h('form', { class: 'panel sign', onsubmit: async (event) => {
    event.preventDefault();
    try {
      await post('/session', { key: key.value });
      done();
    } catch (error) {
      fault.textContent = error.message;
      key.select();
    }
  } }, h('h1', null, 'genflow console'), h('p', { class: 'sub' }, 'Sign in with your key of CONSOLE_KEYS.'), h('label', { class: 'field' }, key), fault, h('button', { class: 'btn pri' }, 'Sign in'));
  replace(main, form);
  key.focus();
}
