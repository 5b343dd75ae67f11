"""What notifications say: a table of texts and the frame of a mail, which adopters can replace.

Values come from users and planners. A text is one line; control characters and those that turn the direction of text
are taken out; HTML escapes them all.
"""

import re
import tomllib
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import TypeAdapter, ValidationError

from greenlight.notify.outbox import KINDS, Notification

OURS = Path(__file__).parent / "texts"
_FILE = TypeAdapter(dict[Literal[KINDS], dict[Literal["subject", "text", "quote", "link"], str]])  # type: ignore[valid-type]
LONGEST_SUBJECT = 160  # code points
LONGEST_QUOTE = 2000
DEEPEST = 100  # levels of a result, as many as `greenlight build` takes
# The templates are tried with as little as there can be, and with all.
LITTLE: dict[str, Any] = {
    "plan_id": "1",
    "session_id": "s",
    "version": 1,
    "title": "T",
    "status": "proposed",
    **dict.fromkeys(("team_id", "proposed_by", "decided_by", "comment")),
    **dict.fromkeys(("agent_id", "agent_status", "build_id", "message", "result")),
}
ALL: dict[str, Any] = {name: {} if name == "result" else value or "x" for name, value in LITTLE.items()}


@dataclass(frozen=True)
class Written:
    subject: str
    plain: str
    html: str


class TextsError(Exception):
    """The templates cannot be used; the message says which, and why."""


class Texts:
    def __init__(self, directory: Path | None = None) -> None:
        """Read the templates, those of the directory before ours, and try each.

        Raises:
            TextsError: one of them is wrong.

        """
        places = [OURS] if directory is None else [directory, OURS]
        self._environment = ImmutableSandboxedEnvironment(
            loader=jinja2.FileSystemLoader(places),
            autoescape=jinja2.select_autoescape(["html"], default_for_string=False),
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        self._texts: dict[str, dict[str, jinja2.Template]] = {kind: {} for kind in KINDS}
        try:
            for place in reversed(places):
                self._read(place / "texts.toml")
            self._try()
        except ValidationError as error:
            found = [f"{' '.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
            raise TextsError(f"The templates cannot be used: texts.toml: {'; '.join(found)}") from error
        except (OSError, ValueError, jinja2.TemplateError) as error:
            raise TextsError(f"The templates cannot be used: {error}") from error

    def _read(self, file: Path) -> None:
        if not file.exists():
            return
        for kind, parts in _FILE.validate_python(tomllib.loads(file.read_text(encoding="utf-8"))).items():
            for part, text in parts.items():
                self._texts[kind][part] = self._environment.from_string(text)

    def _try(self) -> None:
        for kind in KINDS:
            for data in (LITTLE, ALL):
                example = Notification(
                    notification_id=1,
                    attempt=1,
                    event_id="1",
                    kind=kind,
                    occurred_at=datetime.now(UTC),
                    user_id="1",
                    data=data,
                )
                self.mail(example, None)

    def mail(self, notification: Notification, ui_url: str | None) -> Written:
        values = self._values(notification, ui_url)
        return Written(
            values["subject"],
            self._environment.get_template("mail.txt").render(values),
            self._environment.get_template("mail.html").render(values),
        )

    def chat(self, notification: Notification, ui_url: str | None) -> tuple[str, str]:
        """Return title and body. No word of a planner's calls all members of a chat, or is a link to somewhere else."""
        values = self._values(notification, ui_url)
        body = "\n".join(filter(None, (_without_mentions(values["text"]), values["url"])))
        return _without_mentions(values["subject"]), body

    def _values(self, notification: Notification, ui_url: str | None) -> dict[str, Any]:
        link = notification.link(ui_url)
        data = {name: _clean(value) for name, value in notification.data.items()}
        values = {
            **data,
            "title": _line(str(data["title"])),
            "kind": notification.kind,
            "occurred_at": notification.occurred_at,
            "url": link[1] if link else "",
        }
        texts = {part: text.render(values) for part, text in self._texts[notification.kind].items()}
        return {
            **values,
            "subject": _cut(_line(texts["subject"]), LONGEST_SUBJECT),
            "text": _line(texts["text"]),
            "quote": _cut(texts["quote"].strip(), LONGEST_QUOTE),
            "link": _line(texts["link"]),
        }


def _clean(value: Any, depth: int = DEEPEST) -> Any:
    """Take out what is not text: control characters but line breaks, and those that turn the direction.

    What is nested deeper is left out: Postgres holds more levels than Python walks through.
    """
    if isinstance(value, dict):
        return {name: _clean(each, depth - 1) for name, each in value.items()} if depth else None
    if isinstance(value, list):
        return [_clean(each, depth - 1) for each in value] if depth else None
    if not isinstance(value, str):
        return value
    lines = value.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(
        each
        for each in lines
        if each == "\n" or not (unicodedata.category(each) in {"Cc", "Cs"} or each in _TURNING)
    )


_TURNING = {*map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C))}


def _line(text: str) -> str:
    return " ".join(text.split())


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _without_mentions(text: str) -> str:
    """Let `@everyone`, `<!channel>`, `&commat;all` and `[Approve](https://…)` be words: their signs stand apart."""
    text = text.replace("@", "@\u200b").replace("<", "<\u200b").replace("](", "]\u200b(")
    return re.sub(r"&(?=#?\w+;)", "&\u200b", text)
