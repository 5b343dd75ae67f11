"""How much one user, and all together, may have under way in this process.

A request takes its share as it goes, and gives all of it back when it ends. What is beyond a limit is refused with 503
and Retry-After, before it costs anything; a wait for a decision beyond it does not wait.
"""

from collections import Counter

from greenlight.errors import Problem

MIB = 1024 * 1024


class Limit:
    def __init__(self, each: int, total: int) -> None:
        self._each = each
        self._total = total
        self._used: Counter[str] = Counter()
        self._in_all = 0

    def take(self, user_id: str, amount: int = 1) -> bool:
        if self._used[user_id] + amount > self._each or self._in_all + amount > self._total:
            self.give_back(user_id, 0)
            return False
        self._used[user_id] += amount
        self._in_all += amount
        return True

    def give_back(self, user_id: str, amount: int = 1) -> None:
        self._used[user_id] -= amount
        self._in_all -= amount
        if not self._used[user_id]:
            del self._used[user_id]


class Limits:
    """The limits of one process."""

    def __init__(self) -> None:
        self.requests = Limit(each=100, total=400)
        self.body_bytes = Limit(each=64 * MIB, total=256 * MIB)
        self.waits = Limit(each=25, total=500)


class Share:
    """What one request has taken."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._user_id = ""
        self._taken: Counter[Limit] = Counter()
        self._over = False

    def begin(self, user_id: str) -> None:
        """Count a request of this user.

        Raises `upstream_unavailable`.
        """
        self._user_id = user_id
        if not self._take(self._limits.requests):
            raise _busy("requests")

    def count_body(self, size: int) -> None:
        """Count this much more of its body.

        Raises `upstream_unavailable`.
        """
        if not self._take(self._limits.body_bytes, size):
            raise _busy("body_bytes")

    def wait(self) -> bool:
        """Count it as waiting from now on, no longer as a request; return False if it may not wait."""
        if not self._take(self._limits.waits):
            return False
        self._give_back(self._limits.requests)
        return True

    def end(self) -> None:
        self._over = True
        for limit in list(self._taken):
            self._give_back(limit)

    def _take(self, limit: Limit, amount: int = 1) -> bool:
        # A tool may notice a little later than its request has ended.
        if self._over or not limit.take(self._user_id, amount):
            return False
        self._taken[limit] += amount
        return True

    def _give_back(self, limit: Limit) -> None:
        limit.give_back(self._user_id, self._taken.pop(limit, 0))


def _busy(limit: str) -> Problem:
    return Problem(
        "upstream_unavailable",
        "Too many requests are under way; try again in a moment.",
        headers={"Connection": "close"},  # the rest of the body is not waited for
        cause=f"limit: {limit}",
    )
