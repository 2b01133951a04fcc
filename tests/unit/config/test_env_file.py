"""`.env` as we read it and as honcho reads it: where they differ, `check` says so."""

from __future__ import annotations

import io

import pytest
from dotenv import dotenv_values
from honcho.environ import parse as parse_as_honcho

from config.env_file import _honcho, differences

CANARY = "canary-7c1d"


def faults_of(text: str) -> list[str]:
    return list(differences(text, str.isidentifier))


@pytest.mark.parametrize(
    ("written", "advice"),
    [
        ("REDIS_URL=redis://:a\\b@localhost", "'value' in single quotes"),
        ("export REDIS_URL=redis://localhost", "value, without export"),
        ("REDIS_URL=a b", "'value' in single quotes"),
        ("REDIS_URL=a#b", "'value' in single quotes"),
        ("REDIS_URL='a\\\\b'", "'value' in single quotes"),
        ("REDIS_URL='a\\'b'", '"value" in double quotes'),
        ("REDIS_URL=it's", '"value" in double quotes'),
        ("REDIS_URL=a\\nb", "no spelling is read alike"),
        ("REDIS_URL=${HOME}", "write REDIS_URL=value"),
        ('"REDIS_URL"=a', "without quotes"),
    ],
)
def test_a_line_that_honcho_reads_otherwise_is_reported_with_a_spelling_that_both_read_alike(
    written: str, advice: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME", "/home")
    text = f"# don't count this\n\nKLARNA_USERNAME=user\n\n{written}{CANARY}\n".replace(
        f"'{CANARY}", f"{CANARY}'"
    ).replace(f'"{CANARY}', f'{CANARY}"')

    (line,) = faults_of(text)

    assert line.startswith("line 5: honcho ")
    assert "REDIS_URL" in line
    assert advice in line or "ends with a traceback" in line
    assert CANARY not in line


@pytest.mark.parametrize(
    "line",
    [
        *("A=1", "A='a b'", 'A="a b"', "A=1 # a comment", "A=", "A", "# A=1", "  A=1", "A = 1"),
        *("A='a\\b'", "A='a\"b'", "A='#'", "A=postgresql://u:p@h/db?x=1&y=2", 'A="a\\\\b"'),
        "A=user:password",
    ],
)
def test_what_both_read_alike_is_not_reported(line: str):
    assert faults_of(line + "\n") == []
    assert parse_as_honcho(line).get("A", "") == (
        dotenv_values(stream=io.StringIO(line)).get("A") or ""
    )


@pytest.mark.parametrize("value", ["a b", "a#b", "a\\b", 'a"b', "a'b", "a\\\\b", "#", " a "])
def test_the_spelling_advised_is_read_alike_by_the_real_ones(value: str):
    (line,) = faults_of(f"export A={value!r}\n") or [""]
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    (spelled,) = [
        f"A={text}"
        for mark, text in (
            ("A=value,", value),
            ("A='value'", f"'{value}'"),
            ('A="value"', f'"{escaped}"'),
        )
        if mark in line
    ]

    ours = dotenv_values(stream=io.StringIO(spelled))

    assert ours == parse_as_honcho(spelled)
    assert faults_of(spelled) == []


@pytest.mark.parametrize(
    "text",
    [
        *("A=1\nB=a b", "export A=1", "A=a\\tb", "A='x'\r\nB=\"y z\"", "A==b", "A=a;b|c", "=1"),
        *("1A=2", "A-B=1", "A=$B", "A=\u00e5\u00e4", "A = 1", "A: 1", '"A"=1', "A='' ", "A=x''y"),
    ],
)
def test_honcho_is_restated_as_it_is(text: str):
    assert {name: value for _, name, value in _honcho(text)} == parse_as_honcho(text)


def test_a_quote_that_nothing_closes_ends_honcho_itself():
    with pytest.raises(ValueError, match="No closing quotation"):
        parse_as_honcho("A=it's")

    (line,) = faults_of("A=it's")

    assert line.startswith('line 1: honcho ends with a traceback at A: write A="value" in double')
