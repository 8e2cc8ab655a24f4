"""A provider to practise on: OAuth endpoints with the quirks of the real ones, and with faults on request.

An independent program. It imports no other room, so that it cannot share a bug with what it tests.
Start it with `python -m simulator --port 9300`; its front page lists people, sites and admin calls.

One origin serves two authorization servers:

* Atlassian's, at the paths it has on auth.atlassian.com and api.atlassian.com: `/authorize`,
  `/oauth/token`, `/oauth/token/accessible-resources`, `/me`, `/ex/jira/{cloudid}/rest/api/3/...`;
* a plain RFC 6749 server under `/plain`: `/plain/authorize`, `/plain/token`, `/plain/revoke`,
  `/plain/introspect`, `/plain/whoami`, `/plain/.well-known/oauth-authorization-server`.

Consent without a browser: GET the authorization URL, read the hidden field `request` of the form, and
POST these fields to the same path, form-encoded:

* `request`: the hidden id, good for one decision;
* `person`: the role to sign in as, such as `admin`;
* `site`: once per site picked, by id or by name; none at all is a valid pick (Atlassian only);
* `decision`: `allow` or `deny`; without it the answer is the page where the person picks sites;
* `token_lifetime`: optional, seconds; the life of every access token of this grant from now on.

The answer is 303 to the redirect URI.
"""
