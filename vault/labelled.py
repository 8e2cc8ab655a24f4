"""One unambiguous encoding of several texts, for what authenticated encryption binds to."""


def labelled(*parts: str) -> bytes:
    """Each part with its length before it, so that ("ab", "c") and ("a", "bc") differ."""
    encoded = [part.encode() for part in parts]
    return b"".join(len(part).to_bytes(4, "big") + part for part in encoded)
