"""The script that builders embed, and what a page may know of a provider without any key."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import httpx
import pytest

from api.elements import NAME, colour, mark

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "sdk" / "web" / "authpipe.js"
TEXT = SOURCE.read_text()


@pytest.fixture
def anybody(client_with) -> httpx.AsyncClient:
    return client_with("")


async def test_the_served_script_is_the_source(anybody: httpx.AsyncClient) -> None:
    for name in ("authpipe.js", NAME):
        answer = await anybody.get(f"/sdk/{name}")
        assert answer.status_code == 200
        assert answer.content == SOURCE.read_bytes()
        assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "cross-origin"


@pytest.mark.parametrize("path", ["authpipe.js", NAME, "providers/jira", "logos/jira.svg"])
async def test_each_file_can_be_asked_about_without_its_body(anybody: httpx.AsyncClient, path: str) -> None:
    whole, head = await anybody.get(f"/sdk/{path}"), await anybody.head(f"/sdk/{path}")
    assert head.status_code == 200
    whole.headers["x-request-id"] = head.headers["x-request-id"]  # each request has its own
    assert head.headers == whole.headers


async def test_the_name_with_the_hash_is_kept_for_a_year_and_the_plain_one_for_minutes(
    anybody: httpx.AsyncClient,
) -> None:
    assert re.fullmatch(r"authpipe\.[0-9a-f]{16}\.js", NAME)
    assert (await anybody.get(f"/sdk/{NAME}")).headers["cache-control"] == "public, max-age=31536000, immutable"
    plain = await anybody.get("/sdk/authpipe.js")
    assert plain.headers["cache-control"] == "public, max-age=300"
    again = await anybody.get("/sdk/authpipe.js", headers={"if-none-match": plain.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_the_name_of_an_earlier_text_leads_to_the_present_one_and_is_not_kept(
    anybody: httpx.AsyncClient,
) -> None:
    answer = await anybody.get("/sdk/authpipe.0123456789abcdef.js")
    assert (answer.status_code, answer.headers["location"]) == (307, "/sdk/authpipe.js")
    assert answer.headers["cache-control"] == "no-store"


async def test_a_page_learns_name_and_mark_of_a_provider_and_nothing_else(anybody: httpx.AsyncClient) -> None:
    answer = await anybody.get("/sdk/providers/jira")
    assert answer.json() == {"id": "jira", "name": "Jira", "logo": "/sdk/logos/jira.svg"}
    logo = await anybody.get(answer.json()["logo"])
    assert logo.headers["content-type"] == "image/svg+xml"
    assert logo.text == mark("jira", "Jira")
    assert ">J<" in logo.text


@pytest.mark.parametrize("path", ["/sdk/providers/nosuch", "/sdk/logos/nosuch.svg", "/sdk/nosuch", "/sdk/../sdk/x.js"])
async def test_what_is_not_there_is_404(anybody: httpx.AsyncClient, path: str) -> None:
    assert (await anybody.get(path)).status_code == 404


def test_a_hostile_name_cannot_break_out_of_the_mark() -> None:
    assert "<script" not in mark("x", "<script>")
    assert "&lt;</text>" in mark("x", "<script>")


def test_white_stands_out_from_every_colour_a_mark_can_have() -> None:
    def linear(part: int) -> float:
        value = part / 255
        return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4

    for number in range(400):
        red, green, blue = bytes.fromhex(colour(f"provider-{number}")[1:])
        luminance = 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue)
        assert 1.05 / (luminance + 0.05) >= 4.5


def test_the_wheel_carries_every_file_that_is_served(tmp_path: Path) -> None:
    command = (sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path))
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    carried = set(zipfile.ZipFile(wheel).namelist())
    served = [SOURCE, *(ROOT / "api" / "demo").iterdir(), *(ROOT / "api" / "pages").iterdir()]
    assert {str(path.relative_to(ROOT)) for path in served} <= carried


# What a browser does with the script is seen in the browser walk; these hold what no walk would notice.


def test_the_script_needs_nothing_from_anybody_else() -> None:
    assert not re.search(r"https?://", TEXT)
    assert not re.search(r"\bimport\b|\brequire\(", TEXT)


def test_the_script_writes_no_markup_and_runs_no_text() -> None:
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", TEXT)


def test_the_script_stores_the_id_of_a_session_and_never_a_key() -> None:
    assert not re.search(r"localStorage|document\.cookie|indexedDB|caches\b", TEXT)
    assert re.findall(r"sessionStorage\.setItem\(.*", TEXT) == [
        "sessionStorage.setItem(KEPT, JSON.stringify({ id, of }));"
    ]


def test_the_script_takes_a_message_from_the_pages_of_its_session_alone_and_posts_none() -> None:
    assert "if (!flow?.id || event.origin !== flow.pages) return;" in TEXT
    assert "postMessage" not in TEXT


def test_every_text_is_there_in_every_language() -> None:
    languages = re.findall(r"^    (\w\w): \{\n(.*?)^    \},", TEXT, re.MULTILINE | re.DOTALL)
    names = {language: set(re.findall(r"^      '?([\w.]+)'?:", texts, re.MULTILINE)) for language, texts in languages}
    assert names.keys() >= {"en", "de"}
    assert all(found == names["en"] for found in names.values())
