"""What every code means, in words: why a life stands where it stands, or why something went wrong."""

import re
from collections.abc import Mapping

_CODE = re.compile(r"[a-z0-9_.-]{1,64}")

WHY: Mapping[str, str] = {
    # Why a life needs a new consent.
    "grant_revoked": "the provider withdrew the grant: by the person, an administrator, or a new password",
    "grant_expired": "the provider says that the grant reached its end",
    "rotation_lost": "a new refresh token was lost on its way to us, and the provider refuses the one before",
    "token_refused": "the provider refuses a token that cannot be refreshed",
    "site_lost": "the account does not reach its site any more",
    "scopes_lost": "the provider took away scopes that were agreed",
    # What a check-up left open.
    "probe_unclear": "the provider's API refuses this connection alone, without saying that its token is bad",
    "probe_failed": "the provider's API did not say whether the token works",
    # What an answer of the provider, or its absence, means.
    "code_refused": "the provider refused the code of the consent",
    "client_refused": "the provider refuses the app's client id or client secret",
    "client_not_allowed": "the provider does not let the app do this",
    "request_refused": "the provider refuses the form of the request: a scope, the redirect URL or the grant type",
    "rate_limited": "the provider was asked too often",
    "server_error": "the provider stumbled",
    "token_type_unknown": "the provider sent a token that is no bearer token",
    "unknown_error": "the provider answered with an error code that is not known here",
    "unreadable_answer": "the provider's answer could not be read",
    "api_refused": "the provider's API refused the access token",
    "unreachable": "no connection to the provider came about",
    "no_answer": "the provider did not answer",
    "answer_too_large": "the provider's answer was far too long",
    "token_unchanged": "the provider answered with the same access token as before",
    # What we know, or do not know, of our own sending.
    "in_doubt": "a refresh was sent and its answer is not known",
    "no_worker_result": "no worker finished the refresh",
    "exchange_unknown": "the code was sent, its answer is not known, and it must not be sent twice",
    "exchange_running": "another worker was at it",
    "no_refresh_token": "the provider granted no refresh token",
    # When a consent, or a client secret, will end by itself.
    "inactivity": "it was not refreshed for as long as the provider allows",
    "absolute_lifetime": "the provider lets no consent live longer",
    "client_secret": "the provider ends the client secret by itself",
    # Why a provider config was let go again.
    "client_secret_replaced": "there is a new client secret",
    "provider": "the provider said so",
}


def because(code: str) -> str:
    """What stands behind a sentence: ": " with the words and the code, the code alone, or nothing."""
    if not _CODE.fullmatch(code):
        return ""
    return f": {WHY[code]} ({code})" if code in WHY else f" ({code})"
