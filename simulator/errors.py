"""Refusals in each server's own words. A handler raises one; the route sends it."""

from typing import Any

from fastapi.responses import JSONResponse, Response

NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}  # RFC 6749 section 5.1


class RefusalError(Exception):
    """The request ends here, with this response."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status_code)
        self.response = response


def token_json(body: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse(body, status, {**NO_STORE, **(headers or {})})


def oauth_refusal(status: int, error: str, description: str, headers: dict[str, str] | None = None) -> RefusalError:
    """An error of the token endpoint (RFC 6749 section 5.2)."""
    body = {"error": error, "error_description": description}
    return RefusalError(token_json(body, status, headers))


def bearer_refusal(status: int, error: str, description: str) -> RefusalError:
    """An error of a protected resource (RFC 6750 section 3)."""
    challenge = f'Bearer error="{error}", error_description="{description}"'
    return oauth_refusal(status, error, description, {"WWW-Authenticate": challenge})


def gateway_refusal(status: int, message: str) -> RefusalError:
    """An error in the form of Atlassian's API gateway."""
    return RefusalError(JSONResponse({"code": status, "message": message}, status))
