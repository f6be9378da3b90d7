// Asks a person for a token.

import { h, put } from './dom.js';

let asking = null;

// A token, once somebody has given one; requests that wait share one question. `why` says what was wrong with the last.
export function askForToken(why) {
  asking ??= ask(why).finally(() => (asking = null));
  return asking;
}

function ask(why) {
  const dialog = document.getElementById('token');
  const field = h('input', {
    id: 'token-field', type: 'password', autocomplete: 'off', required: true, spellcheck: 'false',
    'aria-describedby': 'token-why',
  });
  return new Promise((resolve) => {
    let isGiven = false;
    const form = h('form', {
      onsubmit: (event) => {
        event.preventDefault();
        isGiven = true;
        dialog.close();
        resolve(field.value.trim());
      },
    },
    h('h1', { id: 'token-title' }, 'This server wants a token'),
    h('p', { id: 'token-why' }, why || 'Whoever runs it makes one with: tracerag token create --tenant NAME --scopes sql,read,similar,heap'),
    h('label', { for: 'token-field' }, 'Token'), field,
    h('p', { class: 'muted' }, 'It is kept for this tab until the tab is closed, and sent to this server only.'),
    h('button', { type: 'submit', class: 'primary' }, 'Go on'));
    put(dialog, form);
    // There is nothing to see without one. A browser may close it at the second Escape all the same.
    dialog.oncancel = (event) => event.preventDefault();
    dialog.onclose = () => isGiven || dialog.showModal();
    dialog.showModal();
    field.focus();
  });
}
