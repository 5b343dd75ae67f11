"""What an OpenAPI document cannot say. Loaded by schemathesis (SCHEMATHESIS_HOOKS)."""

import hashlib
from typing import Any

import schemathesis


@schemathesis.hook
def before_call(
    _context: schemathesis.HookContext, case: schemathesis.Case[Any], _kwargs: dict[str, Any]
) -> None:
    """Make a well-formed content_sha256 that of the content, and 1.0, an integer to JSON Schema, one to us.

    That others are refused is tested in tests/service/.
    """
    if not isinstance(case.body, dict):
        return
    for name in ("version", "expires_in_seconds"):
        number = case.body.get(name)
        if isinstance(number, float) and number.is_integer():
            case.body = {**case.body, name: int(number)}
    content, sha256 = (case.body.get(name) for name in ("content", "content_sha256"))
    if isinstance(content, str) and isinstance(sha256, str) and len(sha256) == 64:
        document = content.encode(errors="surrogatepass")
        case.body = {**case.body, "content_sha256": hashlib.sha256(document).hexdigest()}
