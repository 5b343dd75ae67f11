"""What the human writes of a plan: on the whole, and on passages; and all of it as one Markdown text. No I/O."""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from greenlight import MAX_DOCUMENT_BYTES

MAX_TEXT = 4000  # code points, of a comment and of a passage
MAX_COMMENTS = 200
# Unicode White_Space, exactly: str.strip() without it trims U+001C to U+001F as well.
WHITE_SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
)
SPACE = r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"  # the same, in a pattern


def without_nul(text: str) -> str:
    # As a pattern it would take most of the time that reading a large request takes.
    if "\x00" in text:
        raise ValueError("must not contain U+0000")
    return text


def _not_blank(text: str) -> str:
    if not text.strip(WHITE_SPACE) or len(text) > MAX_TEXT:
        raise ValueError(f"must have 1 to {MAX_TEXT} characters, not only white space")
    return text


def _number(value: Any) -> Any:
    # JSON has one kind of number: 1.0 is 1.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be a whole number")  # noqa: TRY004 -- pydantic takes no TypeError
    return value


Text = Annotated[
    str,
    AfterValidator(without_nul),
    AfterValidator(_not_blank),
    WithJsonSchema(
        {"type": "string", "maxLength": MAX_TEXT, "pattern": rf"^[^\x00]*[^\x00{SPACE}][^\x00]*$"}
    ),
]
Position = Annotated[int, Field(strict=False, ge=0, le=MAX_DOCUMENT_BYTES), BeforeValidator(_number)]
Passage = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_TEXT),
    AfterValidator(without_nul),
    Field(json_schema_extra={"pattern": r"^[^\x00]*$"}),
]


class Comment(BaseModel):
    """What the human says of the passage `document[start:end]`, in Unicode code points."""

    model_config = ConfigDict(strict=True, extra="forbid")

    start: Position
    end: Position
    exact: Passage = Field(description="The passage itself, as long as end - start.")
    body: Text

    @model_validator(mode="after")
    def _as_long_as_the_passage(self) -> Self:
        if len(self.exact) != self.end - self.start:
            raise ValueError("exact must have end - start characters")
        return self


class CommentOnLine(BaseModel):
    """A comment as a planner reads it."""

    start: int = Field(description="Where the passage starts in the plan, in Unicode code points from 0.")
    end: int
    exact: str = Field(description="The passage.")
    body: str = Field(description="What the human says of it.")
    line: int | None = Field(description="The line of start, from 1; null: the passage was not found there.")


def on_lines(comments: Sequence[Comment], document: str | None) -> list[CommentOnLine]:
    """Return the comments with the lines where their passages start; None where a passage does not stand there.

    The document is read once, however many comments there are.
    """
    text = document or ""
    found = {each.start for each in comments if text[each.start : each.end] == each.exact}
    lines: dict[int, int] = {}
    counted, line = 0, 1
    for start in sorted(found):
        # A line ends with CR LF, LF or CR, as in Markdown. Between CR and LF it has not ended yet.
        end = start - 1 if text[max(0, start - 1) : start + 1] == "\r\n" else start
        piece = text[counted:end]
        line += piece.count("\n") + piece.count("\r") - piece.count("\r\n")
        counted, lines[start] = end, line
    return [
        CommentOnLine(
            **each.model_dump(),
            line=lines.get(each.start) if text[each.start : each.end] == each.exact else None,
        )
        for each in comments
    ]


def feedback(comment: str | None, comments: Sequence[CommentOnLine]) -> str | None:
    """Return the comment and the comments on passages, each with its line, as one text; None without any.

    All that the human wrote, or the plan says, stands in a fence that is longer than any in it, so that it cannot end
    its quotation.
    """
    parts = []
    if comment is not None:
        parts += ["On the whole plan:", _quoted(comment)]
    for number, each in enumerate(comments, 1):
        place = (
            "a passage that could not be found in the stored plan"
            if each.line is None
            else f"line {each.line}"
        )
        parts += [f"{number}. On {place}:", _quoted(each.exact), "the human writes:", _quoted(each.body)]
    return "\n\n".join(parts) or None


def _quoted(text: str) -> str:
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"
