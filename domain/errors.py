"""Every refusal of the API: a stable code, what happened, what to do.

Problem
 ├── the caller's      bad_request, invalid_scope, redirect_url_not_allowed, …
 ├── not connected     not_connected, not_found
 ├── the user's        needs_reauth
 ├── the operator's    config_disabled, provider_unknown, …
 └── the moment's      refresh_pending, temporal_unavailable, database_unavailable, database_full
"""

from dataclasses import dataclass
from traceback import extract_tb


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """One row of the table: `status` is HTTP's, `remedy` tells the caller what to do."""

    code: str
    status: int
    title: str
    remedy: str


_ROWS = (
    ErrorCode("bad_request", 422, "The request cannot be used", "Correct the named fields and send it again."),
    ErrorCode("malformed_json", 400, "The body is not JSON", "Send a JSON object with Content-Type application/json."),
    ErrorCode("unauthenticated", 401, "No valid key", "Send `Authorization: Bearer <key>` with a living API key."),
    ErrorCode("forbidden", 403, "This key may not do that", "Use a secret key, from your backend."),
    ErrorCode("not_found", 404, "There is no such thing", "Check the id; it may be deleted or another workspace's."),
    ErrorCode("method_not_allowed", 405, "Not this method", "See the API's documentation for the methods it takes."),
    ErrorCode("body_too_large", 413, "The body is too large", "Send at most 64 KiB; a webhook, 256 KiB."),
    ErrorCode("body_too_slow", 408, "The body did not come in time", "Send it whole, within ten seconds."),
    ErrorCode("provider_unknown", 404, "No such provider", "Choose one of `GET /providers`."),
    ErrorCode("config_missing", 409, "No provider config", "Create and enable one with `POST /api/provider-configs`."),
    ErrorCode("config_disabled", 409, "The provider config is disabled", "Enable it, or choose another one."),
    ErrorCode("ambiguous", 409, "Several fit", "Name one of the candidates."),
    ErrorCode("config_in_use", 409, "Living connections use this config", "Delete them first, or pass cascade=true."),
    ErrorCode("config_changed", 409, "The config was changed meanwhile", "Read it again and repeat the change."),
    ErrorCode("invalid_scope", 422, "Unknown scope", "Use the scopes of the catalog."),
    ErrorCode("redirect_url_not_allowed", 422, "The redirect_url is not allowed", "Add it to allowed_redirect_urls."),
    ErrorCode("user_required", 422, "A user_id is needed", "Name the user, or use a config attached to tenants."),
    ErrorCode("installation_required", 409, "No active installation", "Install the app for this tenant first."),
    ErrorCode("trust_refused", 422, "Not in production", "Leave trust_publishable_sessions off in production."),
    ErrorCode("webhook_missing", 404, "No webhook URL is set", "Set one with `POST /api/webhook-config`."),
    ErrorCode(
        "webhook_url_refused", 422, "The webhook URL may not be called", "Give an https URL whose host is public."
    ),
    ErrorCode("session_token_spent", 401, "The session token is spent", "Mint another one from your backend."),
    ErrorCode("session_token_mismatch", 403, "Not what the token fixes", "Leave out what the session token says."),
    ErrorCode("origin_not_allowed", 403, "Not from this origin", "Add a URL of that origin to allowed_redirect_urls."),
    ErrorCode("session_not_waiting", 409, "The session does not wait for that", "Look at its state first."),
    ErrorCode("deleted_meanwhile", 409, "It was deleted at the same time", "Send the request again."),
    ErrorCode("site_unknown", 422, "Not one of the sites", "Choose one of the sites that the session lists."),
    ErrorCode("user_mismatch", 409, "Another user was expected", "Complete it for the user it was opened for."),
    ErrorCode("not_connected", 404, "Not connected", "Open a session and let the user connect."),
    ErrorCode("needs_reauth", 409, "The user has to connect again", "Open a new session for the same tenant and user."),
    ErrorCode("refresh_pending", 503, "A new credential is not there yet", "Try again after Retry-After seconds."),
    ErrorCode("temporal_unavailable", 503, "The engine does not answer", "Try again; nothing was left behind."),
    ErrorCode("database_unavailable", 503, "The vault does not answer", "Try again; nothing was left behind."),
    ErrorCode(
        "database_full",
        503,
        "The vault has no room to write",
        "Tell the operator, and try again; nothing was left behind.",
    ),
    ErrorCode("seal_broken", 500, "A sealed secret does not open", "Tell the operator."),
    ErrorCode("internal", 500, "An error of ours", "Try again; if it stays, report it with the request id."),
    # What a provider that sends webhooks may meet.
    ErrorCode(
        "webhook_not_offered",
        404,
        "No webhooks of this provider are known",
        "Take the webhook away at the provider, or describe it in the provider's file.",
    ),
    ErrorCode(
        "signature_refused",
        403,
        "Not signed by this provider",
        "Set signing_key of the provider config to what the provider signs with; with many configs, name yours.",
    ),
    ErrorCode("message_not_of_now", 403, "The message is not of now", "Send it when it happens, with the right time."),
    # What a person in front of the browser may meet.
    ErrorCode("session_unknown", 404, "This link is not known", "Start again from the application you came from."),
    ErrorCode("session_expired", 410, "This link has expired", "Start again from the application you came from."),
    ErrorCode("session_used", 409, "This link was used already", "Go back to the application you came from."),
    ErrorCode("state_unknown", 400, "This answer fits no request", "Start again from the application you came from."),
    ErrorCode("wrong_browser", 403, "Another browser began this", "Finish in the browser that opened the link."),
    ErrorCode("cross_site_form", 403, "Another page sent this", "Go back to our page and choose there."),
    ErrorCode("foreign_issuer", 403, "Another server answered", "Start again; tell the operator if it happens again."),
    ErrorCode("code_missing", 400, "The provider sent no code", "Start again from the application you came from."),
    ErrorCode(
        "too_many_visits", 429, "This link was opened too often", "Start again from the application you came from."
    ),
)

CODES: dict[str, ErrorCode] = {row.code: row for row in _ROWS}


@dataclass(frozen=True, slots=True)
class FieldError:
    """Where in the request something is wrong. The value itself is never repeated: it may be a secret."""

    location: str
    message: str


class Problem(Exception):
    """A refusal. `code` must stand in the table; `detail` says what happened this time."""

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        errors: tuple[FieldError, ...] = (),
        candidates: tuple[dict[str, str], ...] = (),
        retry_after: int | None = None,
    ) -> None:
        self.row = CODES[code]
        self.detail = detail or self.row.title
        self.errors = errors
        self.candidates = candidates
        self.retry_after = retry_after
        super().__init__(f"{code}: {self.detail}")


def where(error: BaseException) -> list[str]:
    """The way an unexpected error took, for the log. Its message stays out: a library may quote a secret in it."""
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in extract_tb(error.__traceback__)]
