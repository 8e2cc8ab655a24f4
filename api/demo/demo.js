// @ts-check
// The demo's page: asks its own backend how things stand, shows it, and hands the elements their session tokens.
'use strict';

const POLL = 1500;
const who = /** @type {HTMLFormElement} */ (document.getElementById('who'));
const trouble = /** @type {HTMLElement} */ (document.getElementById('trouble'));
const template = /** @type {HTMLTemplateElement} */ (document.getElementById('life'));
const cards = [.../** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll('.card'))];

/** How far the server's clock is ahead of ours, in milliseconds. */
let ahead = 0;
/** What was shown last, by slot. @type {Record<string, any>} */
let lives = {};

function whom() {
  const said = new FormData(who);
  return { tenant_id: String(said.get('tenant')).trim(), user_id: String(said.get('user')).trim() };
}

/** @param {string} path @param {object} [body] @returns {Promise<any>} */
async function ask(path, body) {
  const sent = body && { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
  const answer = await fetch(`/demo/api/${path}`, sent);
  const said = await answer.json();
  if (!answer.ok) throw new Error(`${String(said.detail).replace(/\.$/, '')}. ${said.remedy}`);
  return said;
}

/** @param {HTMLElement} root @param {string} field @param {string} text */
function put(root, field, text) {
  const node = root.querySelector(`[data-field="${field}"]`);
  if (node && node.textContent !== text) node.textContent = text;
}

/** @param {string|undefined} at a moment of the server's clock */
function left(at) {
  if (!at) return '–';
  const seconds = Math.round((Date.parse(at) - Date.now() - ahead) / 1000);
  if (seconds <= 0) return 'now';
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const shown = (parts[0] ? parts : parts.slice(1)).map((part) => String(part).padStart(2, '0'));
  return `in ${shown.join(':')}`;
}

/** @param {any} life */
function standing(life) {
  const words = [life.status.replaceAll('_', ' ')];
  if (life.reason) words.push(`because of ${life.reason.replaceAll('_', ' ')}`);
  if (life.health !== 'ok') words.push(`${life.health}: ${life.last_error ?? ''}`);
  if (life.deleted) words.push(`at the provider: ${(life.upstream ?? 'pending').replaceAll('_', ' ')}`);
  if (!life.live && !life.deleted) words.push('as recorded last');
  return words.join(', ');
}

/** @param {HTMLElement} card */
function show(card) {
  const life = lives[card.dataset.slot ?? ''];
  const button = /** @type {HTMLElement} */ (card.querySelector('[provider]'));
  const { tenant_id, user_id } = whom();
  button.setAttribute('tenant-id', tenant_id);
  if (card.dataset.slot === 'connection') button.setAttribute('user-id', user_id);
  if (life && !life.deleted) button.setAttribute('status', life.status);
  else button.removeAttribute('status');
  if (!life) {
    card.querySelector('.life')?.remove();
    return;
  }
  const view = card.querySelector('.life') ?? card.appendChild(fresh(card));
  fill(/** @type {HTMLElement} */ (view), life);
}

/** @param {HTMLElement} card */
function fresh(card) {
  const view = document.createElement('div');
  view.className = 'life';
  view.append(template.content.cloneNode(true));
  for (const button of view.querySelectorAll('button')) {
    button.addEventListener('click', () => act(card, String(button.dataset.action)));
  }
  return view;
}

/** @param {HTMLElement} view @param {any} life */
function fill(view, life) {
  put(view, 'status', standing(life));
  put(view, 'credential', life.credential ? `${life.credential} (generation ${life.generation})` : '–');
  put(view, 'site', life.site?.name ?? '–');
  put(view, 'id', life.id);
  /** @type {HTMLAnchorElement} */ (view.querySelector('[data-field=workflow]')).href = life.workflow_url;
  for (const button of view.querySelectorAll('button')) button.disabled = life.deleted;
  tick();
}

/** The seconds go by between two answers of the backend. */
function tick() {
  for (const card of cards) {
    const life = lives[card.dataset.slot ?? ''];
    if (!life) continue;
    put(card, 'expires', life.deleted ? '–' : left(life.token_expires_at));
    put(card, 'refreshes', life.deleted || life.status !== 'active' ? '–' : left(life.next_refresh_at));
  }
}

/** @type {Record<string, (said: any) => string>} */
const told = {
  call: (said) => {
    if (!said.issues) return `Jira answered ${said.status}: it does not take this credential any more.`;
    return [`Jira answered ${said.status} to ${said.signed_in_as}.`, ...said.issues].join('\n');
  },
  refresh: (said) => {
    if (said.refreshed) return 'Refreshed.';
    if (said.again_at) return `Not refreshed: the credential is too young. Press again ${left(said.again_at)}.`;
    return 'Not refreshed yet: the provider stumbles. The present credential is served meanwhile.';
  },
  revoke: (said) => {
    if (!said.revoked) return 'There was nothing to revoke.';
    if (said.noticed) return 'Revoked at the provider, and noticed here.';
    if (said.again_at) return `Revoked at the provider. Authpipe asks there ${left(said.again_at)}, and will notice.`;
    return 'Revoked at the provider. The next refresh or check-up will notice.';
  },
  delete: () => 'Deleted here at once.',
};

/**
 * A builder's backend that was refused at the provider would ask for a refresh; one that is too young has to wait.
 * @param {HTMLElement} card @param {any} life @param {string} at
 */
function askLater(card, life, at) {
  setTimeout(async () => {
    const output = /** @type {HTMLElement} */ (card.querySelector('output'));
    try {
      await ask(`lives/${life.id}/refresh`, {});
    } catch {
      return; // the status says what has come of it
    }
    await look();
    if (lives[card.dataset.slot ?? '']?.status === 'needs_reauth') output.textContent = told.revoke({ revoked: 1, noticed: true });
  }, Math.max(0, Date.parse(at) - Date.now() - ahead) + 500);
}

/** @param {HTMLElement} card @param {string} action */
async function act(card, action) {
  const life = lives[card.dataset.slot ?? ''];
  const output = /** @type {HTMLElement} */ (card.querySelector('output'));
  output.textContent = 'One moment…';
  try {
    const said = await ask(`lives/${life.id}/${action}`, {});
    output.textContent = said.problem ?? told[action](said);
    if (action === 'revoke' && !said.noticed && said.again_at) askLater(card, life, said.again_at);
  } catch (error) {
    output.textContent = error instanceof Error ? error.message : String(error);
  }
  await look();
}

async function look() {
  const asked = whom();
  if (!asked.tenant_id || !asked.user_id) return;
  try {
    const said = await ask(`state?${new URLSearchParams(asked)}`);
    // The fields were changed while the answer was on its way: it speaks of somebody else.
    if (JSON.stringify(asked) !== JSON.stringify(whom())) return;
    ahead = Date.parse(said.now) - Date.now();
    lives = said.lives;
    /** @type {HTMLAnchorElement} */ (document.getElementById('temporal-ui')).href = said.temporal_ui;
    /** @type {HTMLAnchorElement} */ (document.getElementById('simulator')).href = said.simulator;
    cards.forEach(show);
    trouble.hidden = true;
  } catch (error) {
    trouble.textContent = error instanceof Error ? error.message : String(error);
    trouble.hidden = false;
  }
}

async function poll() {
  if (document.visibilityState === 'visible') await look();
  setTimeout(poll, POLL);
}

for (const card of cards) {
  const button = /** @type {any} */ (card.querySelector('[provider]'));
  button.getSessionToken = async () => (await ask('session-tokens', { slot: card.dataset.slot, ...whom() })).token;
  for (const type of ['install', 'connect', 'error']) button.addEventListener(type, look);
}
who.addEventListener('submit', (event) => event.preventDefault());
who.addEventListener('input', look);
document.addEventListener('visibilitychange', () => document.visibilityState === 'visible' && look());
setInterval(tick, 1000);
poll();
