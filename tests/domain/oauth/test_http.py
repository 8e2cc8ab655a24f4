from domain.http import HttpRequest, HttpResponse


def test_header_names_of_a_response_are_lower_cased() -> None:
    assert HttpResponse(200, {"Retry-After": "1"}).headers == {"retry-after": "1"}


def test_repr_shows_neither_body_nor_header_values_nor_query() -> None:
    request = HttpRequest("GET", "https://a.example/x?t=canary", {"authorization": "canary"}, b"canary")
    response = HttpResponse(200, {"set-cookie": "canary"}, b"canary")
    assert "canary" not in repr(request) + repr(response)
    assert "https://a.example/x" in repr(request)
