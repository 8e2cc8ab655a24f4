"""What a person reads about a life in Temporal's UI, without decoding anything."""

from collections.abc import Iterable

from activities.messages import LifeIds
from domain.headline import SAYS, Headline, Standing, clock, headline
from domain.life import LifeState
from domain.wakeup import Step, Wakeup


def summary(life: LifeIds) -> str:
    """What it is the life of, in a line: of a workflow's first run. Temporal drops it at continue-as-new."""
    whom = f"user {life.user_id} of tenant {life.tenant_id}" if life.user_id else f"tenant {life.tenant_id}"
    return f"{life.kind.capitalize()} of {life.provider_id} for {whom}"


def details(life: LifeIds, state: LifeState, wakeup: Wakeup) -> str:
    """The live page of a life; it says again what the summary said, and first of all how the life stands."""
    rows = [
        ("Status", _status(state)),
        ("Generation", str(state.generation)),
        ("Expires", clock(state.credential.expires_at) if state.credential else "–"),
        ("Next", f"{SAYS[wakeup.step]}{' at ' + clock(wakeup.at) if wakeup.at else ''}"),
        ("Failures in a row", f"{state.failures}{', last: ' + state.last_error if state.last_error else ''}"),
        ("Held", f"until {clock(state.held_until)}: {state.held_reason}" if state.held_until else "no"),
        ("Open consents", ", ".join(f"{a.session_id} {a.state}" for a in state.attempts) or "none"),
    ]
    head = head_of(state, wakeup)
    return page(summary(life), rows, head.what, f"To do: {head.to_do}")


def page(title: str, rows: Iterable[tuple[str, str]], *paragraphs: str) -> str:
    """A live page in Markdown, whatever it is of: title, paragraphs, and a list of what is to be known.

    A list, as Temporal's UI puts no space between the columns of a table.
    """
    head = [line for paragraph in (f"**{title}**", *paragraphs) for line in (paragraph, "")]
    return "\n".join([*head, *(f"- {name}: {value}" for name, value in rows)])


def head_of(state: LifeState, wakeup: Wakeup) -> Headline:
    """How the life stands, in the words that the API explains it with."""
    return headline(
        Standing(
            state.status,
            state.reason,
            state.credential.expires_at if state.credential else None,
            state.failures,
            state.last_error,
            state.doubt,
            state.held_reason if state.held_until else "",
            wakeup.step,
            wakeup.at,
            withheld=state.withheld,
        )
    )


def timer_summary(wakeup: Wakeup, state: LifeState) -> str:
    """What a timer waits for: "refresh 5 min before 14:02 UTC"."""
    expires_at = state.credential.expires_at if state.credential else None
    if wakeup.step is Step.REFRESH and wakeup.at and expires_at and wakeup.at < expires_at:
        return f"refresh {span((expires_at - wakeup.at).total_seconds())} before {expires_at:%H:%M:%S} UTC"
    return f"{SAYS[wakeup.step]} at {clock(wakeup.at)}"


def span(seconds: float) -> str:
    """A length of time for people."""
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"


def _status(state: LifeState) -> str:
    name = f"**{state.status}**" if not state.reason else f"**{state.status}** ({state.reason})"
    return f"{name}, degraded" if state.health == "degraded" else name
