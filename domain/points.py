"""The places at which a crash is told apart from one a moment earlier: what fault tests hold a process at."""

from enum import StrEnum


class Point(StrEnum):
    """Named by what was done last, or is about to be done. Sending itself is held at the provider, not here."""

    REFRESH_BEFORE_INTENT = "refresh.before_intent"
    REFRESH_AFTER_INTENT = "refresh.after_intent"
    REFRESH_AFTER_ANSWER = "refresh.after_answer"
    REFRESH_BEFORE_COMMIT = "refresh.before_commit"
    REFRESH_AFTER_COMMIT = "refresh.after_commit"
    REFRESH_BEFORE_HEARD = "refresh.before_heard"
    EXCHANGE_BEFORE_INTENT = "exchange.before_intent"
    EXCHANGE_AFTER_INTENT = "exchange.after_intent"
    EXCHANGE_AFTER_ANSWER = "exchange.after_answer"
    EXCHANGE_BEFORE_COMMIT = "exchange.before_commit"
    EXCHANGE_AFTER_COMMIT = "exchange.after_commit"
    EXCHANGE_BEFORE_HEARD = "exchange.before_heard"
    CALLBACK_AFTER_CONSUMING = "callback.after_consuming"


async def go_on(point: Point, life_id: str) -> None:
    """What happens at a point where nobody tests: nothing."""
    del point, life_id
