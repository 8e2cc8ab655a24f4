"""What an attempt has come to: as programs are told it, and the one table of words for people."""

from dataclasses import dataclass, field, replace
from datetime import datetime

from pydantic import BaseModel, Field

from domain.errors import CODES
from domain.life import AttemptState, Kind
from domain.redirects import sites_url
from vault import sessions
from vault.tables import AuthSession


class SiteChoice(BaseModel):
    id: str
    name: str
    url: str


class SessionOutcome(BaseModel):
    """Where an attempt stands. `sites`, `tenant_id` and `user_id` are shown to a secret key alone.

    What was `expected`, and in which installation a connection is to live before it does, a bare publishable key is not
    told: the page that has it may have named anybody's tenant. The session's own token was minted by a backend.
    """

    session_id: str
    status: AttemptState
    reason: str | None = Field(None, description="Why it failed: a stable code.")
    expected: str | None = None
    kind: Kind
    provider: str
    installation_id: str | None = None
    connection_id: str | None = None
    expires_at: datetime
    selection_url: str | None = Field(
        None, description="While a choice of site is awaited: our page for the browser that gave the consent."
    )
    sites: list[SiteChoice] | None = None
    tenant_id: str | None = None
    user_id: str | None = None


def outcome_of(session: AuthSession, *, in_full: bool, vouched: bool = False) -> SessionOutcome:
    """What a session has come to; the life is named once the consent was accepted.

    `in_full` for a secret key, `vouched` for what a backend vouches for, as by the session's own token. A publishable
    key names any tenant: what is there already is not for it.
    """
    done = session.state == AttemptState.COMPLETED
    installation = session.kind == Kind.INSTALLATION
    inside = session.installation_id if in_full or vouched or done else ""
    return SessionOutcome(
        session_id=session.id,
        status=AttemptState(session.state),
        reason=session.reason or None,
        expected=(session.expected or None) if in_full or vouched else None,
        kind=Kind(session.kind),
        provider=session.provider_id,
        installation_id=(session.life_id if done else None) if installation else inside or None,
        connection_id=session.life_id if done and not installation else None,
        expires_at=sessions.deadline_of(session),
        selection_url=sites_url(session.oauth_redirect_url, session.id) if is_choosing(session) else None,
        sites=[SiteChoice(**site) for site in session.sites] if in_full and session.sites else None,
        tenant_id=session.tenant_id if in_full else None,
        user_id=(session.user_id or None) if in_full else None,
    )


def is_choosing(session: AuthSession) -> bool:
    """Whether the person has to choose a site next."""
    return session.state == AttemptState.AWAITING_SELECTION and not session.chosen_site_id


@dataclass(frozen=True, slots=True)
class Words:
    """How an attempt ended, for the person who made it.

    `expected` says what the session's `expected` names, and `meaning` says that so that a person knows it again.
    """

    title: str
    happened: str
    remedy: str
    expected: str = field(default="", kw_only=True)
    meaning: str = field(default="{}", kw_only=True)

    def about(self, **names: str) -> "Words":
        """With the names of the provider and of the application filled in."""
        return replace(
            self,
            title=self.title.format(**names),
            happened=self.happened.format(**names),
            remedy=self.remedy.format(**names),
        )


_DONE = {
    Kind.INSTALLATION: Words("Installed", "{app} is installed in {provider}.", "You can close this window."),
    Kind.CONNECTION: Words(
        "Connected", "Your account at {provider} is connected to {app}.", "You can close this window."
    ),
}
_UNCONFIRMED = Words(
    "Waiting for confirmation",
    "You have given access at {provider}. {app} now has to confirm that it was you.",
    "There is nothing left to do here: close this window and go back to {app}.",
)
_AGAIN = "Start again from {app}."
_SETUP = Words(
    "{app} is not set up correctly",
    "{provider} refused the application itself, not you.",
    "Tell the people who run {app}: they have to check its registration at {provider}.",
)
_BUSY = Words(
    "{provider} did not answer as it should",
    "The last step could not be finished, although it was tried for a while.",
    "Wait a few minutes, then start again from {app}.",
)
_OURS = Words(
    "Something went wrong here",
    "The last step failed on our side. It is not your fault.",
    "Start again from {app}. If it fails again, tell the people who run {app}.",
)
_UNCLEAR = Words(
    "{provider} reported a problem",
    "{provider} sent you back without giving access.",
    "Start again from {app}. If it happens again, tell the people who run {app}.",
)
_SPENT = Words(
    "{provider} did not accept the answer",
    "The permission was used already, or too much time went by.",
    _AGAIN,
)
_IN_DOUBT = Words(
    "It is not known how this ended",
    "{provider} did not answer while the last step was being made, and making it twice could do harm.",
    "Start again from {app}. That is safe.",
)

_WORDS: dict[str, Words] = {
    "access_denied": Words(
        "You did not agree",
        "{provider} was told not to give access, and {app} got none.",
        "If that was a mistake, start again from {app} and agree on the page of {provider}.",
    ),
    "expired": Words("The time is over", "This took longer than it may, so the attempt was ended.", _AGAIN),
    "no_site": Words(
        "There is no site to connect",
        "The account you signed in with at {provider} does not reach any site.",
        "Ask an administrator at {provider} for access to a site, or use another account; then start again from {app}.",
    ),
    "site_mismatch": Words(
        "Another site was expected",
        "What you granted at {provider} does not include the site that this connection belongs to.",
        "Start again from {app}, and grant access to the expected site at {provider}.",
        expected="Expected site",
    ),
    "site_lost": Words(
        "The chosen site is out of reach",
        "{provider} does not list the site any more that was chosen.",
        "Start again from {app}, and choose among the sites that are listed then.",
        expected="Chosen site",
    ),
    "account_mismatch": Words(
        "Another account was expected",
        "You signed in at {provider} with another account than the one this connection was made with. "
        "The connection stays as it was.",
        "Sign out at {provider}, start again from {app}, and sign in with the account you used the first time.",
        expected="Expected account",
        # Of an account only the id is kept; a person's name or address never is.
        meaning="the one that connected this before (its id there: {})",
    ),
    "scopes_missing": Words(
        "Some rights are missing",
        "{provider} granted less than this connection has already. The connection stays as it was.",
        "Start again from {app}, and grant everything that {provider} asks you for.",
        expected="Missing rights",
    ),
    "already_installed": Words(
        "It is installed already",
        "{app} is installed on this site of {provider} already.",
        "There is nothing to do: go back to {app}.",
        expected="Installed on",
    ),
    "installation_not_active": Words(
        "The app is not installed",
        "The installation that this connection belongs to was removed, or has to be repaired first.",
        "Ask an administrator to install {app} in {provider}, then start again.",
    ),
    "config_deleted": Words(
        "This connection is no longer offered",
        "{app} took back its registration for {provider} in the meantime.",
        "Ask the people who run {app}.",
    ),
    "probe_refused": Words(
        "The new access does not work", "{provider} gave access, and refused it when it was first used.", _AGAIN
    ),
    "probe_failed": Words(
        "Your account could not be read",
        "{provider} gave access, but would not say whose account it is. It may lack the product or a right.",
        "Use an account that works with {provider} itself, then start again from {app}.",
    ),
    "deleted": Words(
        "It was deleted in the meantime", "Somebody removed this connection while you were giving access.", _AGAIN
    ),
    "session_ended": Words(
        "This attempt was over already", "Another answer came first, so this one counts for nothing.", _AGAIN
    ),
    "exchange_unknown": _IN_DOUBT,
    "exchange_running": _IN_DOUBT,
    "code_missing": _UNCLEAR,
    "provider_error": _UNCLEAR,
    "code_refused": _SPENT,
    "grant_revoked": _SPENT,
    "grant_expired": _SPENT,
    "keys_unavailable": _OURS,
    "internal": _OURS,
    # The app's registration, or what it asked for.
    "client_refused": _SETUP,
    "client_not_allowed": _SETUP,
    "request_refused": _SETUP,
    "invalid_request": _SETUP,
    "unauthorized_client": _SETUP,
    "unsupported_response_type": _SETUP,
    "invalid_scope": _SETUP,
    # The moment's.
    "rate_limited": _BUSY,
    "server_error": _BUSY,
    "temporarily_unavailable": _BUSY,
    "token_type_unknown": _BUSY,
    "unknown_error": _BUSY,
    "unreadable_answer": _BUSY,
    "api_refused": _BUSY,
    "unreachable": _BUSY,
    "no_answer": _BUSY,
    "answer_too_large": _BUSY,
    "probe_unclear": _BUSY,
}

_SOON = "Wait a minute, then start again from the application you came from."
_TELL = "Start again from the application you came from. If it fails again, tell the people who run it."

# What a person is told of an answer that was not taken, or of a link that leads nowhere any more. Title and, unless
# another is given here, remedy are those of the error's code.
_REFUSED: dict[str, tuple[str, str]] = {
    "session_used": ("An answer came before this one, perhaps in another window, and only the first one counts.", ""),
    "session_expired": ("More time went by than a link is good for.", ""),
    "state_unknown": ("It belongs to nothing that was begun here, or it did not arrive whole.", ""),
    "wrong_browser": (
        "This browser has no cookie of that link: another one opened it, cookies are blocked, or it is over.",
        "",
    ),
    "foreign_issuer": ("The answer names another server than the one that was asked, so it was not taken.", ""),
    "database_unavailable": ("The last step needs our records, and they could not be reached.", _SOON),
    "database_full": ("The last step has to be written down, and there is no room for it.", _TELL),
    "seal_broken": ("What was sealed here for this step cannot be opened.", _TELL),
    "internal": ("The last step failed on our side. It is not your fault.", _TELL),
}


def words_of_refusal(code: str) -> Words | None:
    """What a person is told of a refusal; None for a code that none is told of by us."""
    if code not in _REFUSED:
        return None
    happened, remedy = _REFUSED[code]
    return Words(CODES[code].title, happened, remedy or CODES[code].remedy)


def has_words(reason: str) -> bool:
    """Whether the table knows this reason; a provider may send codes of its own."""
    return reason in _WORDS


def words_for(session: AuthSession, *, provider: str, app: str) -> Words:
    """What a person is told of a session that has come to rest; an unknown reason gets the general text."""
    match AttemptState(session.state):
        case AttemptState.COMPLETED:
            words = _DONE[Kind(session.kind)]
        case AttemptState.PENDING_VERIFICATION:
            words = _UNCONFIRMED
        case _:
            words = _WORDS.get(session.reason, _UNCLEAR)
    return words.about(provider=provider, app=app)
