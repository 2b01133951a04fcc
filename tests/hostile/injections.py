"""Texts that are dangerous where they are not escaped."""

from __future__ import annotations

import re

FORGED = "FORGED"
# By target; those of `PRINTABLE` are texts that a shop may really use.
PRINTABLE = {
    "sql": "'; DROP TABLE payment_sessions; --",
    "sql, closed": "x') ON CONFLICT DO NOTHING; DELETE FROM accounts; --",
    "sql array": '{"a",NULL}',
    "like": "%_\\%",
    "bind parameter": ":session_id %(x)s $1 ?",
    "format": "{0.__class__} %s %n ${jndi:ldap://x}",
    "markup": "[red]alarm[/red]",
    "markup, not closed": "[bold",
    "markup, closed too often": "[/bold]",
    "markup behind a backslash": "\\[red]alarm\\[/red]",
    "markup that ends in a backslash": "[red]\\",
    "link": "[link=http://evil.test]here[/link]",
    "emoji code": ":warning: :thumbs_up:",
    "json": '"}, {"level": "error", "event": "FORGED"}',
    "html": "<script>alert(1)</script>",
    "path": "../../etc/passwd",
    "shell": "$(reboot) `reboot` | reboot",
    "redis": "*1\\r\\n$8\\r\\nFLUSHALL",
}
CONTROLS = {
    "line": f"x\n2026-01-01 {FORGED} [error] all is lost",
    "json line": f'x\n{{"level": "error", "event": "{FORGED}"}}',
    "carriage return": f"x\r{FORGED}",
    "header": f"x\r\nX-Injected: {FORGED}",
    "second request": f"x HTTP/1.1\r\nHost: x\r\n\r\nGET /{FORGED}",
    "colour": "\x1b[31mx\x1b[0m",
    "cleared screen": "\x1b[2J\x1b[H",
    "window title": "\x1b]0;title\x07",
    "link of a terminal": "\x1b]8;;http://evil.test\x1b\\x\x1b]8;;\x1b\\",
    "one-byte escape": "\x9b31mx",
    "backspaces": "abc\x08\x08\x08xyz",
    "bell": "\x07",
    "next line": f"x\x85{FORGED}",
    "line separator": f"x\u2028{FORGED}",
    "paragraph separator": f"x\u2029{FORGED}",
    "vertical tab": f"x\x0b{FORGED}",
    "right to left": "x\u202eabc",
    "hidden": "a\u200bb\ufeff",
    "tab": "a\tb",
}
ALL = PRINTABLE | CONTROLS

# Control characters of terminals, but for line ends.
_RAW = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e]")


def raw_controls(text: str) -> list[str]:
    """Return the control characters in a command's or a log's output."""
    return _RAW.findall(text)
