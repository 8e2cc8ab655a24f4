"""Everything the doctor can find: a stable code, what it means, and the first thing to do."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Code(StrEnum):
    """Stable names, for scripts and alerts."""

    PROVIDER_FILE_FAULTY = "provider_file_faulty"
    KEY_MISSING = "key_missing"
    KEY_UNUSABLE = "key_unusable"
    KEY_WRONG = "key_wrong"
    ROWS_DO_NOT_OPEN = "rows_do_not_open"
    DATABASE_UNREACHABLE = "database_unreachable"
    DATABASE_NEWER = "database_newer"
    MIGRATIONS_BEHIND = "migrations_behind"
    CLOCK_SKEWED = "clock_skewed"
    TEMPORAL_SETTINGS_UNREADABLE = "temporal_settings_unreadable"
    TEMPORAL_UNREACHABLE = "temporal_unreachable"
    TEMPORAL_REFUSES = "temporal_refuses"
    NAMESPACE_MISSING = "namespace_missing"
    SEARCH_ATTRIBUTE_MISSING = "search_attribute_missing"
    SEARCH_ATTRIBUTE_MISTYPED = "search_attribute_mistyped"
    NO_WORKER_POLLS = "no_worker_polls"
    WORKERS_GET_NOTHING = "workers_get_nothing"
    REDIRECT_URL_UNREACHABLE = "redirect_url_unreachable"
    REDIRECT_URL_ASTRAY = "redirect_url_astray"
    CONNECTIONS_OVERDUE = "connections_overdue"
    NO_ANSWER = "no_answer"
    CHECK_FAILED = "check_failed"


@dataclass(frozen=True, slots=True)
class Entry:
    """What a code means wherever it is found, and the first step then."""

    meaning: str
    remedy: str


CODES: Mapping[Code, Entry] = {
    Code.PROVIDER_FILE_FAULTY: Entry(
        "A provider's file cannot be used; API and worker refuse to start with it.",
        "Correct the named key of the named file; `authpipe providers doctor` reads the files alone.",
    ),
    Code.KEY_MISSING: Entry(
        "A key-encryption key that is needed was not given.",
        "Give it in AUTHPIPE_KEY_ENCRYPTION_KEY or AUTHPIPE_KEY_ENCRYPTION_KEY_FILE; it lies with your backup of keys.",
    ),
    Code.KEY_UNUSABLE: Entry(
        "The key-encryption keys cannot be read.",
        "Give them as id:base64 of 32 bytes each, in a file that this user may read.",
    ),
    Code.KEY_WRONG: Entry(
        "A key-encryption key has the right id, but is not the one that this vault was sealed with.",
        "Give the key this vault was made with, or look whether this is the database you meant.",
    ),
    Code.ROWS_DO_NOT_OPEN: Entry(
        "Credentials do not open under the vault's own data keys.",
        "Was the vault restored in part? Restore all of it from one backup; else those users have to connect again.",
    ),
    Code.DATABASE_UNREACHABLE: Entry(
        "The database does not answer, or is none.",
        "Start it, or correct AUTHPIPE_DATABASE_URL; is its disk full?",
    ),
    Code.DATABASE_NEWER: Entry(
        "A newer version of Authpipe made this database.",
        "Run that version, or go forward to a newer one; back to this one leads only a backup.",
    ),
    Code.MIGRATIONS_BEHIND: Entry(
        "The database lacks migrations of this version.",
        "Run `authpipe migrate`.",
    ),
    Code.CLOCK_SKEWED: Entry(
        "The clock of this machine and another one differ by seconds.",
        "Let both machines keep time by NTP; run the doctor on each machine that has an API or a worker.",
    ),
    Code.TEMPORAL_SETTINGS_UNREADABLE: Entry(
        "Temporal's own variables or profile file cannot be read.",
        "Correct TEMPORAL_CONFIG_FILE, TEMPORAL_PROFILE or the TEMPORAL_… variable that is named.",
    ),
    Code.TEMPORAL_UNREACHABLE: Entry(
        "Temporal does not answer.",
        "Start it, or correct TEMPORAL_ADDRESS; where it wants TLS or a key, see TEMPORAL_TLS and TEMPORAL_API_KEY.",
    ),
    Code.TEMPORAL_REFUSES: Entry(
        "Temporal answers, and does not let us in.",
        "Correct TEMPORAL_API_KEY or the client's certificate, and what they may do in the namespace.",
    ),
    Code.NAMESPACE_MISSING: Entry(
        "Temporal has no namespace of that name.",
        "Correct TEMPORAL_NAMESPACE, or create it: temporal operator namespace create --retention 1d --namespace NAME.",
    ),
    Code.SEARCH_ATTRIBUTE_MISSING: Entry(
        "Temporal lacks a search attribute; every workflow that writes it would hang.",
        "Start a worker, which creates it; or create it as the finding says.",
    ),
    Code.SEARCH_ATTRIBUTE_MISTYPED: Entry(
        "A search attribute has another type in this namespace; workers refuse to start.",
        "Take another namespace, or remove it there and start a worker.",
    ),
    Code.NO_WORKER_POLLS: Entry(
        "No worker takes what lies in a task queue: nothing is refreshed from it.",
        "Start `authpipe worker`; if one runs, read its log, and compare its Temporal address and namespace.",
    ),
    Code.WORKERS_GET_NOTHING: Entry(
        "Workers run, and the engine gives their tasks to another version of them, which does not.",
        "Make the version that runs the current one, as the finding says; docs/operations.md tells of upgrades.",
    ),
    Code.REDIRECT_URL_UNREACHABLE: Entry(
        "Nothing answers where browsers are sent back to.",
        "Correct DNS, proxy or certificate, or the config's oauth_redirect_url; where this machine cannot reach its "
        "own public address, run the doctor elsewhere.",
    ),
    Code.REDIRECT_URL_ASTRAY: Entry(
        "Browsers are sent back to something that is not this API: consents are lost.",
        "Have the proxy send /oauth/ of that origin to this API, or correct the config's oauth_redirect_url, "
        "at the provider too.",
    ),
    Code.CONNECTIONS_OVERDUE: Entry(
        "Refreshes were due minutes ago, and nobody made them.",
        "Mend what else is found here, then run `authpipe reconcile`.",
    ),
    Code.NO_ANSWER: Entry(
        "A check was given up, since nothing came back; what it looked at may be well or not.",
        "Look at what the check is about, and at the network on the way to it.",
    ),
    Code.CHECK_FAILED: Entry(
        "A check broke: an error of ours, or something that nobody foresaw.",
        "Report it with the kind of error; what it looked at may be well or not.",
    ),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. It holds no secret."""

    code: Code
    what: str
    remedy: str


def found(code: Code, what: str, remedy: str = "") -> Finding:
    """A finding; `remedy` where more can be said than the code's own."""
    return Finding(code, what, remedy or CODES[code].remedy)
