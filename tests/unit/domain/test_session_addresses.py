"""Which session ids and URLs are accepted: credentials go wherever these say."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.builders import SESSION_ID, SESSION_URL
from worker.domain.errors import InvalidArgumentError
from worker.domain.session_addresses import check_session_id, check_session_url

ALLOWED = ("https://api.klarna.com", "https://api-na.playground.klarna.com", "http://[::1]:8080")
PATH = f"/hpp/v1/sessions/{SESSION_ID}"


def checked(url: object, session_id: str = SESSION_ID) -> str:
    return check_session_url(url, session_id=session_id, allowed_origins=ALLOWED)


@pytest.mark.parametrize(
    "session_id",
    [SESSION_ID, "a", "a" * 128, "0", "A-b_c.d~e", "...", "..a", "624f91ae110e37fb"],
)
def test_a_session_id_is_a_url_path_segment_as_it_stands(session_id: str):
    assert check_session_id(session_id) == session_id


@pytest.mark.parametrize(
    "value",
    [
        None, "", " ", ".", "..", "a/b", "a\\b", "../a", "a b", "a\n", "\na", "a\t", "a\x00", "a?b",
        "a#b", "a%2fb", "a:b", "a@b", "a;b", "a" * 129, "ä", "\u0430", "a\u200b", "\uff11", 7.5,
        True, b"abc", ["abc"], {"session_id": "abc"},
    ],
    ids=ascii,
)  # fmt: skip
def test_any_other_session_id_is_refused(value: object):
    with pytest.raises(InvalidArgumentError) as refused:
        check_session_id(value)

    assert refused.value.field == "session_id"


@pytest.mark.parametrize(
    "url",
    [
        SESSION_URL,
        f"https://api.klarna.com/{SESSION_ID}",
        f"https://api.klarna.com/payments/v1/sessions/{SESSION_ID}",
        f"https://api.klarna.com/a.b/c~d/e_f/{SESSION_ID}",
        f"https://api-na.playground.klarna.com{PATH}",
        f"http://[::1]:8080{PATH}",
    ],
)
def test_a_plain_path_on_an_allowed_origin_is_taken_as_it_stands(url: str):
    assert checked(url) is url


TRICKY = {
    "other host": f"https://evil.test{PATH}",
    "allowed name as prefix": f"https://api.klarna.com.evil.test{PATH}",
    "allowed name as label prefix": f"https://api.klarna.community{PATH}",
    "allowed name as suffix": f"https://evil-api.klarna.com{PATH}",
    "subdomain": f"https://x.api.klarna.com{PATH}",
    "allowed origin in the path": f"https://evil.test/https://api.klarna.com{PATH}",
    "allowed origin in the query": f"https://evil.test/?https://api.klarna.com{PATH}",
    "origin of Klarna that is not listed": f"https://api-oc.klarna.com{PATH}",
    "user info": f"https://user:pass@api.klarna.com{PATH}",
    "empty user info": f"https://@api.klarna.com{PATH}",
    "allowed name as user": f"https://api.klarna.com@evil.test{PATH}",
    "allowed name as user and password": f"https://api.klarna.com:443@evil.test{PATH}",
    "allowed origin before an encoded at": f"https://api.klarna.com%40evil.test{PATH}",
    "explicit default port": f"https://api.klarna.com:443{PATH}",
    "other port": f"https://api.klarna.com:8443{PATH}",
    "empty port": f"https://api.klarna.com:{PATH}",
    "port that goes on": f"http://[::1]:80800{PATH}",
    "host in capitals": f"https://API.klarna.com{PATH}",
    "scheme in capitals": f"HTTPS://api.klarna.com{PATH}",
    "plain http": f"http://api.klarna.com{PATH}",
    "websocket": f"wss://api.klarna.com{PATH}",
    "no scheme": f"//api.klarna.com{PATH}",
    "path only": PATH,
    "file": f"file://{PATH}",
    "one slash": f"https:/api.klarna.com{PATH}",
    "three slashes": f"https:///api.klarna.com{PATH}",
    "backslashes": f"https:\\\\api.klarna.com{PATH}",
    "backslash after the host": f"https://api.klarna.com\\@evil.test{PATH}",
    "backslash in the path": f"https://api.klarna.com/hpp\\v1/{SESSION_ID}",
    "trailing dot of the host": f"https://api.klarna.com.{PATH}",
    "international name": f"https://api.klarn\u0430.com{PATH}",
    "full-width name": f"https://api.klarna\uff0ecom{PATH}",
    "encoded host": f"https://api%2eklarna.com{PATH}",
    "leading blank": f" {SESSION_URL}",
    "trailing blank": f"{SESSION_URL} ",
    "trailing newline": f"{SESSION_URL}\n",
    "tab": f"https://api.klarna.com/hpp\t/{SESSION_ID}",
    "newline and header": f"https://api.klarna.com/\r\nX: y/{SESSION_ID}",
    "null": f"https://api.klarna.com/\x00/{SESSION_ID}",
    "query": f"{SESSION_URL}?a=b",
    "empty query": f"{SESSION_URL}?",
    "query that holds the path": f"https://api.klarna.com/?{PATH}",
    "fragment": f"{SESSION_URL}#a",
    "empty fragment": f"{SESSION_URL}#",
    "fragment that holds the path": f"https://api.klarna.com/#{PATH}",
    "parameters": f"{SESSION_URL};a=b",
    "empty segment": f"https://api.klarna.com//{SESSION_ID}",
    "trailing slash": f"{SESSION_URL}/",
    "dot segment": f"https://api.klarna.com/hpp/./{SESSION_ID}",
    "dot dot segment": f"https://api.klarna.com/hpp/../{SESSION_ID}",
    "leading dot dot segment": f"https://api.klarna.com/../{SESSION_ID}",
    "encoded dots": f"https://api.klarna.com/hpp/%2e%2e/{SESSION_ID}",
    "encoded slash": f"https://api.klarna.com/hpp%2f{SESSION_ID}",
    "encoded id": f"https://api.klarna.com/%33{SESSION_ID[1:]}",
    "origin only": "https://api.klarna.com",
    "root": "https://api.klarna.com/",
    "other session": "https://api.klarna.com/hpp/v1/sessions/another",
    "session id with more behind": f"{SESSION_URL}x",
    "session id with more before": f"https://api.klarna.com/hpp/x{SESSION_ID}",
    "session id not last": f"{SESSION_URL}/distribution",
    "session id in capitals": f"https://api.klarna.com/{SESSION_ID.upper()}",
    "empty": "",
}


@pytest.mark.parametrize("url", TRICKY.values(), ids=TRICKY.keys())
def test_any_other_url_is_refused_and_not_repeated(url: str):
    with pytest.raises(InvalidArgumentError) as refused:
        checked(url)

    assert refused.value.field == "session_url"
    assert url == "" or url not in str(refused.value)


@pytest.mark.parametrize(
    "value", [None, 7, SESSION_URL.encode(), [SESSION_URL], {"url": SESSION_URL}], ids=str
)
def test_a_url_is_text(value: object):
    with pytest.raises(InvalidArgumentError, match="session_url: must be text"):
        checked(value)


@pytest.mark.parametrize("dots", [".", ".."])
def test_a_url_never_ends_in_dots_even_should_the_session_id_be_dots(dots: str):
    with pytest.raises(InvalidArgumentError):
        checked(f"https://api.klarna.com/{dots}", session_id=dots)


@settings(max_examples=200, deadline=None, database=None)
@given(st.lists(st.sampled_from([*"/.:@?#\\%;[] \t\n", *ALLOWED, "evil", SESSION_ID]), max_size=8))
@example(["https://api.klarna.com", "/", SESSION_ID])
def test_an_accepted_url_means_the_same_to_every_parser(parts: list[str]):
    url = "".join(parts)
    try:
        checked(url)
    except InvalidArgumentError:
        return
    read = urlsplit(url)
    assert f"{read.scheme}://{read.netloc}" in ALLOWED
    assert (read.username, read.password, read.query, read.fragment) == (None, None, "", "")
    assert read.path.split("/")[-1] == SESSION_ID
    assert url == f"{read.scheme}://{read.netloc}{read.path}"
