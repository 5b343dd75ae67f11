"""What an OpenAPI document cannot say. Loaded by schemathesis (SCHEMATHESIS_HOOKS)."""

import hashlib
from typing import Any

import schemathesis


@schemathesis.hook
def before_call(
    _context: schemathesis.HookContext, case: schemathesis.Case[Any], _kwargs: dict[str, Any]
) -> None:
    """Make a well-formed content_sha256 that of the content, a comment's end fit its passage, and 1.0 an integer.

    The team is left out, since the caller is in none. That others are refused is tested in tests/service/.
    """
    if not isinstance(case.body, dict):
        return
    case.body = {name: value for name, value in case.body.items() if name != "team_id"}
    for name in ("version", "expires_in_seconds"):
        number = case.body.get(name)
        if isinstance(number, float) and number.is_integer():
            case.body = {**case.body, name: int(number)}
    comments = case.body.get("comments")
    if isinstance(comments, list):
        case.body = {**case.body, "comments": [_fitting(each) for each in comments]}
    content, sha256 = (case.body.get(name) for name in ("content", "content_sha256"))
    if isinstance(content, str) and isinstance(sha256, str) and len(sha256) == 64:
        document = content.encode(errors="surrogatepass")
        case.body = {**case.body, "content_sha256": hashlib.sha256(document).hexdigest()}


def _fitting(comment: Any) -> Any:
    if not isinstance(comment, dict) or not isinstance(comment.get("exact"), str):
        return comment
    for name in ("start", "end"):
        number = comment.get(name)
        if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number <= 1_048_576:
            return comment
        if number != int(number):
            return comment
    start = min(int(comment["start"]), 1_000_000)
    return {**comment, "start": start, "end": start + len(comment["exact"])}
