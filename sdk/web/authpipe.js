// @ts-check
/**
 * Authpipe's elements: `<authpipe-install-button>` and `<authpipe-connect-button>`.
 *
 * One plain script, no dependency, no build: what you read is what is served. It opens an auth session in a popup
 * (in the page itself where popups are blocked), follows it, and tells the outcome by state and event. It never
 * holds a secret: a session token or a publishable key is all it is given, and the events name ids alone.
 * What it takes and tells is described in README.md beside this file.
 */
(() => {
  'use strict';

  /** @typedef {'idle'|'opening'|'waiting'|'choosing'|'done'|'denied'|'failed'|'connected'|'needs_reauth'} State */
  /**
   * What an event tells.
   * @typedef {object} Detail
   * @property {string} session_id empty where none was opened
   * @property {string} provider
   * @property {string} [installation_id]
   * @property {string} [connection_id]
   * @property {string} status of the session: `completed`, `pending_verification`, `failed`, ...
   * @property {string} [reason]
   * @property {true} [unconfirmed] the page's address says so, and nobody could be asked: a hint
   */
  /**
   * What `GET /oauth/sessions/{id}` answers, as far as it matters here.
   * @typedef {{session_id: string, status: string, reason?: string, installation_id?: string,
   *   connection_id?: string, expected?: string, expires_at?: string, unconfirmed?: true}} Outcome
   */
  /**
   * One attempt as the element follows it. Times are milliseconds since the epoch.
   * @typedef {object} Flow
   * @property {string} base the API's origin
   * @property {string} key the session token or publishable key that opened it; in memory only
   * @property {string} id of the session; empty until it is open
   * @property {string} pages the origin of our own pages, the only one a message is taken from
   * @property {Window|null} popup
   * @property {number} deadline when the session ends by itself
   * @property {number} closedAt when the popup was first seen closed; 0 before
   * @property {boolean} givenUp the closed popup was believed; a late completion still counts
   * @property {boolean} told the page knows that its backend has to confirm
   * @property {boolean} leaving the page itself went to the provider
   * @property {number} failures polls in a row that got no answer
   * @property {object|null} watcher the loop in charge of it
   * @property {() => void} wake ends the pause between two polls
   */

  const SCRIPT = document.currentScript instanceof HTMLScriptElement ? document.currentScript.src : '';
  const KEPT = 'authpipe:session';
  const OUR_ID = /^sess_[a-z2-7]{26}$/;
  const RETURNED = ['session_id', 'status', 'reason', 'installation_id', 'connection_id'];
  const POLL = 1500;
  const SLOW_POLL = 5000;
  const SLOWEST_POLL = 20000;
  const CLOSED_GRACE = 2500;
  const CLOSED_UNSEEN = 60000;
  const DEADLINE_GRACE = 15000;
  /** Codes that only whoever builds the page, or its backend, can do something about. @type {ReadonlySet<string>} */
  const SETUP = new Set([
    'key_missing', 'provider_missing', 'base_url_missing', 'base_url_invalid', 'token_unavailable', 'bad_answer',
    'unauthenticated', 'forbidden', 'bad_request', 'provider_unknown', 'config_missing', 'config_disabled', 'ambiguous',
    'invalid_scope', 'redirect_url_not_allowed', 'origin_not_allowed', 'user_required', 'session_token_spent',
    'session_token_mismatch',
  ]);
  /** @type {ReadonlySet<State>} */
  const BUSY = new Set(['opening', 'waiting', 'choosing']);
  /** @type {ReadonlySet<State>} */
  const SETTLED = new Set(['done', 'connected']);

  /** @type {Record<string, Record<string, string>>} */
  const TEXTS = {
    en: {
      'button.install': 'Install {provider}',
      'button.connect': 'Connect {provider}',
      'button.reconnect': 'Reconnect {provider}',
      'button.busy': 'Connecting {provider}…',
      'button.connected': '{provider} connected',
      'button.again': 'Try {provider} again',
      opening: 'Opening a window.',
      waiting: 'Go on in the window that opened.',
      choosing: 'Choose a site in the window that opened.',
      confirming: 'Waiting for confirmation.',
      finishing: 'The last step is being made. If nothing changes, start again.',
      done: '{provider} is connected.',
      denied: 'Access was not given. Nothing was changed.',
      failed: 'That did not work. Nothing was changed.',
      connected: '',
      needs_reauth: 'The connection has ended. Please connect again.',
      'reason.popup_closed': 'The window seems to be closed. If it is still open, go on there; otherwise start again.',
      'reason.interrupted': 'It was not finished.',
      'reason.expired': 'It took too long. Please start again.',
      'reason.network': 'The server could not be reached. Please try again.',
      'reason.account_mismatch': 'Another account was expected. Nothing was changed.',
      'reason.site_mismatch': 'Another site was expected. Nothing was changed.',
      'reason.no_site': 'This account reaches no site of {provider}.',
      'reason.already_installed': 'It is installed on that site already.',
      'reason.installation_required': 'Please install {provider} first.',
      'expected.account_mismatch': 'Expected is the one that connected this before (its id: {expected}).',
      'expected.site_mismatch': 'Expected: {expected}.',
    },
    de: {
      'button.install': '{provider} installieren',
      'button.connect': 'Mit {provider} verbinden',
      'button.reconnect': 'Neu mit {provider} verbinden',
      'button.busy': '{provider} wird verbunden …',
      'button.connected': '{provider} ist verbunden',
      'button.again': 'Erneut mit {provider} versuchen',
      opening: 'Ein Fenster wird geöffnet.',
      waiting: 'Weiter geht es im geöffneten Fenster.',
      choosing: 'Wählen Sie im geöffneten Fenster eine Site aus.',
      confirming: 'Die Bestätigung steht noch aus.',
      finishing: 'Der letzte Schritt läuft noch. Ändert sich nichts, beginnen Sie neu.',
      done: '{provider} ist verbunden.',
      denied: 'Der Zugriff wurde nicht erlaubt. Es hat sich nichts geändert.',
      failed: 'Das hat nicht geklappt. Es hat sich nichts geändert.',
      connected: '',
      needs_reauth: 'Die Verbindung ist beendet. Bitte verbinden Sie sich neu.',
      'reason.popup_closed': 'Das Fenster scheint geschlossen zu sein. Ist es noch offen, geht es dort weiter; sonst beginnen Sie neu.',
      'reason.interrupted': 'Der Vorgang wurde nicht abgeschlossen.',
      'reason.expired': 'Es hat zu lange gedauert. Bitte beginnen Sie neu.',
      'reason.network': 'Der Server ist nicht erreichbar. Bitte versuchen Sie es noch einmal.',
      'reason.account_mismatch': 'Erwartet wurde ein anderes Konto. Es hat sich nichts geändert.',
      'reason.site_mismatch': 'Erwartet wurde eine andere Site. Es hat sich nichts geändert.',
      'reason.no_site': 'Dieses Konto erreicht keine Site von {provider}.',
      'reason.already_installed': 'Auf dieser Site ist es schon installiert.',
      'reason.installation_required': 'Bitte installieren Sie zuerst {provider}.',
      'expected.account_mismatch': 'Erwartet wird das Konto, das zuvor verbunden war (Kennung: {expected}).',
      'expected.site_mismatch': 'Erwartet: {expected}.',
    },
  };

  // A sheet made by script is allowed by every content security policy; a <style> element is not.
  const SHEET = new CSSStyleSheet();
  SHEET.replaceSync(`
    :host { display: inline-block; max-width: 100%; font: 600 1rem/1.3 system-ui, sans-serif;
      --accent: var(--authpipe-accent, #2453d6); --on-accent: var(--authpipe-on-accent, #fff);
      --ink: var(--authpipe-ink, #1c2330); --soft: var(--authpipe-soft, #566074);
      --warn: var(--authpipe-warn, #8a4300); }
    :host([hidden]) { display: none; }
    @media (prefers-color-scheme: dark) {
      :host { --accent: var(--authpipe-accent, #8fb0ff); --on-accent: var(--authpipe-on-accent, #0d1320);
        --ink: var(--authpipe-ink, #e8ecf4); --soft: var(--authpipe-soft, #a9b3c6);
        --warn: var(--authpipe-warn, #ffc489); }
    }
    button { display: inline-flex; align-items: center; gap: .6rem; max-width: 100%; min-height: 2.75rem;
      padding: .5rem 1.1rem; border: 0; border-radius: .5rem; background: var(--accent); color: var(--on-accent);
      font: inherit; text-align: start; overflow-wrap: anywhere; cursor: pointer; }
    button:hover { filter: brightness(1.08); }
    button:focus-visible { outline: 3px solid var(--ink); outline-offset: 2px; }
    :host([state=done]) button, :host([state=connected]) button { background: transparent; color: var(--ink);
      box-shadow: inset 0 0 0 1px var(--soft); cursor: default; filter: none; }
    img { width: 1.4rem; height: 1.4rem; flex: none; border-radius: .3rem; }
    img:not([src]), [part=status]:empty, [part=progress] { display: none; }
    :host([state=opening]) [part=progress], :host([state=waiting]) [part=progress],
    :host([state=choosing]) [part=progress] { display: block; width: 1em; height: 1em; flex: none;
      border: 2px solid currentColor; border-inline-end-color: transparent; border-radius: 50%;
      animation: turn 1s linear infinite; }
    [part=status] { display: block; margin-top: .35rem; font-size: .875rem; font-weight: 400; color: var(--soft); }
    :host([state=failed]) [part=status], :host([state=denied]) [part=status] { color: var(--warn); }
    @keyframes turn { to { transform: rotate(1turn); } }
    @media (prefers-reduced-motion: reduce) { * { animation: none !important; } }
    @media (forced-colors: active) { button { border: 1px solid ButtonText; } }
  `);

  /** A refusal, by its stable code. */
  class Refused extends Error {}

  /** What all pages may know of a provider, asked once per page. @type {Map<string, Promise<{name: string, logo: string}>>} */
  const faces = new Map();

  /** @param {string} base @param {string} provider */
  function faceOf(base, provider) {
    const url = `${base}/sdk/providers/${encodeURIComponent(provider)}`;
    const known = faces.get(url) ?? askFace(base, url);
    faces.set(url, known);
    known.catch(() => faces.delete(url));
    return known;
  }

  /** @param {string} base @param {string} url */
  async function askFace(base, url) {
    const answer = await fetch(url, { credentials: 'omit' });
    if (!answer.ok) throw new Refused(String(answer.status));
    const said = await answer.json();
    return { name: String(said.name), logo: new URL(said.logo, base).href };
  }

  /**
   * One call with the page's key or token. Raises `Refused` with the server's code, or with `network`.
   * @param {string} url @param {string} key @param {object} [body]
   */
  async function call(url, key, body) {
    /** @type {Response} */
    let answer;
    /** @type {any} */
    let said;
    try {
      answer = await fetch(url, {
        method: body ? 'POST' : 'GET',
        headers: { authorization: `Bearer ${key}`, ...(body ? { 'content-type': 'application/json' } : {}) },
        body: body ? JSON.stringify(body) : undefined,
        credentials: 'omit',
        cache: 'no-store',
      });
      said = await answer.json();
    } catch {
      throw new Refused('network');
    }
    if (!answer.ok) throw new Refused(String(said?.code ?? answer.status));
    return said;
  }

  /** Where the element stands in between a redirect and the return: the session's id, never a key. */
  const kept = {
    /** @param {string} id @param {string} of */
    write(id, of) {
      try {
        sessionStorage.setItem(KEPT, JSON.stringify({ id, of }));
      } catch {
        // Storage is switched off: the return is then not recognised, and the page's backend knows anyway.
      }
    },
    /** Take what was kept for this element. @param {string} of @returns {string} the session's id, or nothing */
    take(of) {
      try {
        const found = JSON.parse(sessionStorage.getItem(KEPT) ?? 'null');
        if (found?.of !== of) return '';
        sessionStorage.removeItem(KEPT);
        return String(found.id);
      } catch {
        return '';
      }
    },
  };

  /** The page's own address, without what an earlier return has left in it. Names alike may be the page's own. */
  function ownUrl() {
    const url = new URL(location.href);
    url.hash = '';
    if (OUR_ID.test(url.searchParams.get('session_id') ?? '')) {
      for (const name of RETURNED) url.searchParams.delete(name);
    }
    return url.href;
  }

  /**
   * An http(s) address; raises `Refused` with this code for anything a script could hide in.
   * @param {unknown} url @param {string} code @returns {URL}
   */
  function webUrl(url, code) {
    try {
      const parsed = new URL(String(url), location.href);
      if (['http:', 'https:'].includes(parsed.protocol)) return parsed;
    } catch {
      // Not an address at all.
    }
    throw new Refused(code);
  }

  /** @type {Set<string>} */
  const complaints = new Set();

  /** For whoever builds the page: a person can do nothing about it. Once per code. @param {string} code */
  function complain(code) {
    if (!SETUP.has(code) || complaints.has(code)) return;
    complaints.add(code);
    console.error(`authpipe: the button cannot work as it is set up (${code}); see the README of the elements`);
  }

  class AuthpipeButton extends HTMLElement {
    static observedAttributes = ['provider', 'status', 'texts', 'lang', 'base-url'];

    /** What the subclass opens. @type {{path: string, event: string, scopes: string}} */
    static opens = { path: '', event: '', scopes: '' };

    #button = document.createElement('button');
    #logo = document.createElement('img');
    #label = document.createElement('span');
    #status = document.createElement('span');
    /** @type {State} */
    #state = 'idle';
    /** What the status line says instead of the state's own text. */
    #note = '';
    /** What an outcome says was expected instead. */
    #expected = '';
    /** @type {Flow|null} */
    #flow = null;
    /** @type {Record<string, string>} */
    #texts = {};
    #name = '';
    #began = false;

    constructor() {
      super();
      const progress = document.createElement('span');
      this.#button.type = 'button';
      this.#button.append(this.#logo, progress, this.#label);
      this.#logo.alt = '';
      progress.ariaHidden = 'true';
      this.#status.setAttribute('role', 'status');
      for (const [part, node] of Object.entries({
        button: this.#button, logo: this.#logo, progress, label: this.#label, status: this.#status,
      })) node.setAttribute('part', part);
      const root = this.attachShadow({ mode: 'open', delegatesFocus: true });
      root.adoptedStyleSheets = [SHEET];
      root.append(this.#button, this.#status);
      this.#button.addEventListener('click', () => this.start());
      /**
       * Asked for a fresh session token at every click; wins over the attributes.
       * @type {(() => Promise<string>|string)|null}
       */
      this.getSessionToken = this.getSessionToken ?? null;
      if (Object.hasOwn(this, 'texts')) {
        // Set before this script had run: hand it to the accessor that it hides.
        const early = this.texts;
        delete (/** @type {any} */ (this).texts);
        this.texts = early;
      }
    }

    /** Where the element stands; the attribute `state` says the same. */
    get state() {
      return this.#state;
    }

    /** Texts that replace the built-in ones, by their names. */
    get texts() {
      return this.#texts;
    }

    set texts(value) {
      const given = value ?? {};
      const fits = typeof given === 'object' && !Array.isArray(given);
      const entries = fits ? Object.entries(given) : [];
      const strings = entries.filter(([, text]) => typeof text === 'string');
      if (!fits || strings.length < entries.length) console.warn('authpipe: "texts" takes an object of strings');
      this.#texts = Object.fromEntries(strings);
      this.#render();
    }

    connectedCallback() {
      addEventListener('message', this.#onMessage);
      addEventListener('focus', this.#onAttention);
      addEventListener('pageshow', this.#onPageShow);
      document.addEventListener('visibilitychange', this.#onAttention);
      this.#showFace();
      if (!this.#began) {
        this.#began = true;
        this.#takeStatus();
        this.#resume();
      } else if (this.#flow?.id) {
        this.#watch(this.#flow);
      }
      this.#render();
    }

    disconnectedCallback() {
      removeEventListener('message', this.#onMessage);
      removeEventListener('focus', this.#onAttention);
      removeEventListener('pageshow', this.#onPageShow);
      document.removeEventListener('visibilitychange', this.#onAttention);
    }

    /** @param {string} name @param {string|null} old @param {string|null} value */
    attributeChangedCallback(name, old, value) {
      if (old === value) return;
      if (name === 'texts') this.#readTexts(value);
      if (!this.isConnected) return;
      if (name === 'status') this.#takeStatus();
      if (name === 'provider' || name === 'base-url') this.#showFace();
      this.#render();
    }

    /** What a click does. Call it from a handler of a click of yours: a popup opens at no other time. */
    start() {
      const flow = this.#flow;
      if (SETTLED.has(this.#state)) return;
      // A popup that seems closed may be started anew at once; a session that waits for its backend may not.
      if (BUSY.has(this.#state) && (flow?.told || !flow?.closedAt)) return void flow?.popup?.focus();
      const popup = this.#openPopup();
      /** @type {Flow} */
      const begun = {
        base: '', key: '', id: '', pages: '', popup, deadline: 0, closedAt: 0, givenUp: false, told: false,
        leaving: false, failures: 0, watcher: null, wake: () => {},
      };
      this.#flow = begun;
      this.#expected = '';
      this.#become('opening');
      void this.#open(begun);
    }

    /** In the click's own tick, so that no blocker minds; null where one does. */
    #openPopup() {
      const [width, height] = [540, 720];
      const left = Math.max(0, screenX + (outerWidth - width) / 2);
      const top = Math.max(0, screenY + (outerHeight - height) / 2);
      const features = `popup=yes,width=${width},height=${height},left=${left | 0},top=${top | 0}`;
      const popup = open('', `authpipe-${Math.random().toString(36).slice(2)}`, features);
      if (popup) {
        try {
          popup.document.title = this.#text('opening');
          popup.document.body.textContent = this.#text('opening');
        } catch {
          // A browser that hides even its own blank page: it stays blank for a moment.
        }
      }
      return popup;
    }

    /** @param {Flow} flow */
    async #open(flow) {
      try {
        flow.base = this.#base();
        flow.key = await this.#key();
        const body = this.#body(flow.popup === null);
        const said = await call(`${flow.base}/oauth/${this.#opens.path}`, flow.key, body);
        const target = webUrl(said.authorization_url, 'bad_answer');
        flow.id = String(said.session_id);
        flow.pages = target.origin;
        flow.deadline = Date.parse(said.expires_at) || Date.now() + 15 * 60000;
        this.#lead(flow, target.href);
      } catch (error) {
        flow.popup?.close();
        const code = error instanceof Refused ? error.message : 'token_unavailable';
        complain(code);
        if (this.#flow === flow) this.#fail(flow, code);
      }
    }

    /** Send the popup, or the page itself, to the provider. @param {Flow} flow @param {string} url */
    #lead(flow, url) {
      if (this.#flow !== flow) return void flow.popup?.close();
      if (!flow.popup) {
        flow.leaving = true;
        kept.write(flow.id, this.#signature());
        location.assign(url);
        return;
      }
      if (flow.popup.closed) return this.#giveUp(flow);
      flow.popup.location.replace(url);
      this.#become('waiting');
      this.#watch(flow);
    }

    get #opens() {
      return /** @type {typeof AuthpipeButton} */ (this.constructor).opens;
    }

    #base() {
      const given = this.getAttribute('base-url') || SCRIPT;
      if (!given) throw new Refused('base_url_missing');
      return webUrl(given, 'base_url_invalid').origin;
    }

    async #key() {
      const key = this.getSessionToken
        ? await this.getSessionToken()
        : this.getAttribute('session-token') || this.getAttribute('publishable-key');
      if (!key) throw new Refused('key_missing');
      return key;
    }

    /** The request that opens a session. @param {boolean} redirecting */
    #body(redirecting) {
      const scopes = this.getAttribute('scopes');
      const given = {
        provider: this.#provider(),
        tenant_id: this.getAttribute('tenant-id'),
        user_id: this.getAttribute('user-id'),
        installation_id: this.#opens.event === 'connect' ? this.getAttribute('installation-id') : null,
        provider_config_id: this.getAttribute('provider-config-id'),
        label: this.getAttribute('label'),
        [this.#opens.scopes]: scopes ? scopes.split(/[\s,]+/).filter(Boolean) : null,
        redirect_url: redirecting ? ownUrl() : null,
      };
      return Object.fromEntries(Object.entries(given).filter(([, value]) => value));
    }

    #provider() {
      const provider = this.getAttribute('provider');
      if (!provider) throw new Refused('provider_missing');
      return provider;
    }

    /** Follow one session until it ends. @param {Flow} flow */
    async #watch(flow) {
      const me = (flow.watcher = {});
      const mine = () => this.#flow === flow && flow.watcher === me && this.isConnected;
      while (mine()) {
        const outcome = await this.#poll(flow);
        if (!mine() || (outcome && this.#take(flow, outcome))) return;
        if (Date.now() > flow.deadline + DEADLINE_GRACE) return this.#runOut(flow);
        if (outcome) this.#noticeClosed(flow, outcome);
        await this.#pause(flow);
      }
    }

    /** @param {Flow} flow @returns {Promise<Outcome|null>} null when nobody answered */
    async #poll(flow) {
      try {
        const said = await call(`${flow.base}/oauth/sessions/${flow.id}`, flow.key);
        flow.failures = 0;
        return said;
      } catch {
        flow.failures += 1;
        return null;
      }
    }

    /** @param {Flow} flow */
    #pause(flow) {
      const usual = flow.givenUp || flow.told ? SLOW_POLL : POLL;
      const pause = Math.min(usual * 2 ** Math.min(flow.failures, 5), SLOWEST_POLL);
      return new Promise((resolve) => {
        const timer = setTimeout(resolve, pause);
        flow.wake = () => {
          clearTimeout(timer);
          resolve(undefined);
        };
      });
    }

    /**
     * What the session has come to. True once there is nothing more to follow.
     * @param {Flow} flow @param {Outcome} outcome
     */
    #take(flow, outcome) {
      flow.deadline = Date.parse(outcome.expires_at ?? '') || flow.deadline;
      switch (outcome.status) {
        case 'completed':
          this.#end('done', '');
          this.#tell(this.#opens.event, outcome);
          return true;
        case 'failed':
          this.#fail(flow, outcome.reason ?? 'failed', outcome);
          return true;
        case 'pending_verification':
          this.#become('waiting', 'confirming');
          if (!flow.told) this.#tell(this.#opens.event, outcome);
          flow.told = true;
          return false;
        case 'awaiting_selection':
          if (!flow.givenUp) this.#become('choosing');
          return false;
        default:
          if (!flow.givenUp) this.#become('waiting');
          return false;
      }
    }

    /**
     * A closed popup is believed only after a further poll, and while the person looks at this page: a provider may
     * cut the tie to its opener, which looks just like closing.
     * @param {Flow} flow @param {Outcome} outcome
     */
    #noticeClosed(flow, outcome) {
      if (flow.givenUp || !flow.popup?.closed) return;
      const now = Date.now();
      if (!flow.closedAt) {
        flow.closedAt = now;
        return;
      }
      const since = now - flow.closedAt;
      const open = ['pending', 'awaiting_selection'].includes(outcome.status);
      if (open && ((since > CLOSED_GRACE && document.hasFocus()) || since > CLOSED_UNSEEN)) this.#giveUp(flow);
    }

    /**
     * The session itself is still open: it is followed on, at leisure.
     * @param {Flow} flow @param {string} [reason]
     */
    #giveUp(flow, reason = 'popup_closed') {
      flow.closedAt ||= Date.now();
      flow.givenUp = true;
      this.#become(this.#restingState(), `reason.${reason}`);
      this.#tell('error', { session_id: flow.id, status: 'pending', reason });
      if (!flow.watcher) this.#watch(flow);
    }

    /** @param {Flow} flow */
    #runOut(flow) {
      if (flow.givenUp) this.#flow = null;
      else this.#fail(flow, 'expired');
    }

    /** @param {Flow} flow @param {string} reason @param {Partial<Outcome>} [outcome] */
    #fail(flow, reason, outcome = {}) {
      this.#expected = outcome.expected ?? '';
      this.#end(reason === 'access_denied' ? 'denied' : 'failed', `reason.${reason}`);
      this.#tell('error', { session_id: flow.id, status: 'failed', ...outcome, reason });
    }

    /** @param {State} state @param {string} note */
    #end(state, note) {
      this.#flow = null;
      this.#become(state, note);
    }

    /** @param {string} type @param {Outcome} outcome */
    #tell(type, { session_id, status, reason, installation_id, connection_id, unconfirmed }) {
      /** @type {Detail} */
      const detail = { session_id, provider: this.getAttribute('provider') ?? '', status };
      if (reason) detail.reason = reason;
      if (installation_id) detail.installation_id = installation_id;
      if (connection_id) detail.connection_id = connection_id;
      if (unconfirmed) detail.unconfirmed = true;
      this.dispatchEvent(new CustomEvent(type, { detail, bubbles: true, composed: true }));
    }

    /** Our own page says that it is done: a hint to ask, nothing more. @param {MessageEvent} event */
    #onMessage = (event) => {
      const flow = this.#flow;
      if (!flow?.id || event.origin !== flow.pages) return;
      if (event.data?.type === 'authpipe:done' && event.data.session_id === flow.id) flow.wake();
    };

    #onAttention = () => {
      if (document.visibilityState === 'visible') this.#flow?.wake();
    };

    /** The back button brought the page back as it was left. @param {PageTransitionEvent} event */
    #onPageShow = (event) => {
      const flow = this.#flow;
      if (!event.persisted || !flow?.leaving) return;
      kept.take(this.#signature());
      this.#giveUp(flow, 'interrupted');
    };

    /** After a redirect: the address says how it ended, for the very session that this element had opened. */
    #resume() {
      const id = kept.take(this.#signature());
      const said = new URLSearchParams(location.search);
      if (!id || said.get('session_id') !== id) return;
      /** @type {any} */
      const outcome = Object.fromEntries(RETURNED.map((name) => [name, said.get(name) ?? undefined]));
      // Not before the page's own scripts could listen.
      const later = () => setTimeout(() => this.#takeReturn(outcome));
      if (document.readyState === 'loading') document.addEventListener('DOMContentLoaded', later, { once: true });
      else later();
    }

    /** The address is no witness: the API is asked, if the page has anything to ask with. @param {Outcome} said */
    async #takeReturn(said) {
      if (this.#flow) return;
      /** @type {Flow} */
      const flow = {
        base: '', key: this.getAttribute('publishable-key') || this.getAttribute('session-token') || '',
        id: said.session_id, pages: '', popup: null, deadline: Date.now() + 60 * 60000, closedAt: 0, givenUp: false,
        told: false, leaving: false, failures: 0, watcher: null, wake: () => {},
      };
      this.#flow = flow;
      this.#become('waiting', 'finishing');
      const outcome = await this.#asked(flow);
      if (this.#flow !== flow) return;
      if (!outcome) this.#takeHint(flow, { ...said, unconfirmed: true });
      else if (!this.#take(flow, outcome)) this.#watch(flow);
    }

    /** What the API says; null where there is no key, or one that does not fit. @param {Flow} flow */
    async #asked(flow) {
      if (!flow.key) return null;
      try {
        flow.base = this.#base();
      } catch {
        return null;
      }
      return this.#poll(flow);
    }

    /**
     * Nobody can be asked, as the token went with the page that held it. What is not over can only be left alone: the
     * button rests, and may be pressed.
     * @param {Flow} flow @param {Outcome} said
     */
    #takeHint(flow, said) {
      if (said.status === 'completed' || said.status === 'failed') {
        this.#take(flow, said);
        return;
      }
      const waits = said.status === 'pending_verification';
      this.#end(this.#restingState(), waits ? 'confirming' : 'finishing');
      if (waits) this.#tell(this.#opens.event, said);
    }

    /** Tells this element from the others of a page, by what stands in the page before any script has run. */
    #signature() {
      const names = ['id', 'provider', 'label'];
      return [this.localName, ...names.map((name) => this.getAttribute(name) ?? '')].join('|');
    }

    /** @returns {State} the state that the page's backend knows of */
    #restingState() {
      const status = this.getAttribute('status');
      if (status === 'needs_reauth') return 'needs_reauth';
      return status === 'active' ? 'connected' : 'idle';
    }

    #takeStatus() {
      if (!BUSY.has(this.#state)) this.#become(this.#restingState());
    }

    /** @param {State} state @param {string} [note] the name of a text */
    #become(state, note = '') {
      this.#state = state;
      this.#note = note;
      this.#render();
    }

    /** @param {string|null} json */
    #readTexts(json) {
      try {
        this.texts = JSON.parse(json ?? '{}');
      } catch {
        console.warn('authpipe: the attribute "texts" is not JSON');
      }
    }

    /** Our texts in the page's language, unless the page has its own. @param {string} name */
    #text(name) {
      const named = this.closest('[lang]')?.getAttribute('lang') || document.documentElement.lang || 'en';
      const lang = named.toLowerCase().split('-')[0];
      const text = this.#texts[name] ?? TEXTS[lang]?.[name] ?? TEXTS.en[name] ?? '';
      return text.replaceAll('{provider}', this.#name).replaceAll('{expected}', this.#expected);
    }

    /** What stands below the button. */
    #statusText() {
      const own = this.#note && this.#text(this.#note);
      const expected = this.#expected && this.#text(this.#note.replace(/^reason\./, 'expected.'));
      if (own) return expected ? `${own} ${expected}` : own;
      return this.#state === 'idle' ? '' : this.#text(this.#state);
    }

    #buttonText() {
      if (BUSY.has(this.#state)) return this.#text('button.busy');
      if (SETTLED.has(this.#state)) return this.#text('button.connected');
      if (this.#state === 'needs_reauth') return this.#text('button.reconnect');
      if (this.#state === 'failed' || this.#state === 'denied') return this.#text('button.again');
      return this.#text(`button.${this.#opens.event}`);
    }

    #render() {
      if (!this.isConnected) return;
      if (this.getAttribute('state') !== this.#state) this.setAttribute('state', this.#state);
      put(this.#label, this.#buttonText());
      put(this.#status, this.#statusText());
      // Not `disabled`: that would take the focus away from whoever has just pressed it.
      this.#button.setAttribute('aria-disabled', String(SETTLED.has(this.#state)));
      this.#button.setAttribute('aria-busy', String(BUSY.has(this.#state)));
    }

    /** Name and logo of the provider; until they are there, and without them, the id has to do. */
    async #showFace() {
      const provider = this.getAttribute('provider') ?? '';
      this.#name = provider.charAt(0).toUpperCase() + provider.slice(1);
      try {
        const face = await faceOf(this.#base(), this.#provider());
        if (provider !== this.getAttribute('provider')) return;
        this.#name = face.name;
        this.#logo.src = face.logo;
        this.#logo.onerror = () => this.#logo.removeAttribute('src');
      } catch {
        if (provider === this.getAttribute('provider')) this.#logo.removeAttribute('src');
      }
      this.#render();
    }
  }

  /** Only a change is written: a live region would read it out again. @param {HTMLElement} node @param {string} text */
  function put(node, text) {
    if (node.textContent !== text) node.textContent = text;
  }

  class InstallButton extends AuthpipeButton {
    static opens = { path: 'installs', event: 'install', scopes: 'permissions' };
  }

  class ConnectButton extends AuthpipeButton {
    static opens = { path: 'sessions', event: 'connect', scopes: 'scopes' };
  }

  for (const [name, element] of Object.entries({
    'authpipe-install-button': InstallButton,
    'authpipe-connect-button': ConnectButton,
  })) {
    if (!customElements.get(name)) customElements.define(name, element);
  }
})();
