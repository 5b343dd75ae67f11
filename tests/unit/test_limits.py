"""What one user and all together may have under way, and that it is given back."""

import pytest

from greenlight.errors import Problem
from greenlight.limits import Limit, Limits, Share


def test_each_user_and_all_together_have_a_limit() -> None:
    limit = Limit(each=2, total=3)
    assert [limit.take("ada"), limit.take("ada"), limit.take("ada")] == [True, True, False]
    assert [limit.take("bob"), limit.take("bob")] == [True, False]
    limit.give_back("ada")
    assert [limit.take("bob"), limit.take("ada")] == [True, False]


def test_what_is_refused_is_not_counted() -> None:
    limit = Limit(each=10, total=10)
    assert not limit.take("ada", 11)
    assert limit.take("ada", 10)
    limit.give_back("ada", 10)
    assert not limit._used


def ended(share: Share) -> None:
    share.end()
    share.end()


def test_a_request_gives_everything_back_when_it_ends() -> None:
    limits = Limits()
    limits.requests, limits.body_bytes = Limit(1, 1), Limit(100, 100)
    for _ in range(3):
        share = Share(limits)
        share.begin("ada")
        share.count_body(60)
        share.count_body(40)
        with pytest.raises(Problem) as problem:
            share.count_body(1)
        assert (problem.value.code, problem.value.retryable) == ("upstream_unavailable", True)
        other = Share(limits)
        with pytest.raises(Problem):
            other.begin("ada")
        ended(other)
        ended(share)


def test_one_that_waits_is_no_longer_counted_as_a_request() -> None:
    limits = Limits()
    limits.requests, limits.waits = Limit(1, 1), Limit(1, 1)
    waiting, second, third = Share(limits), Share(limits), Share(limits)
    waiting.begin("ada")
    assert waiting.wait()
    second.begin("ada")
    assert not second.wait()
    ended(waiting)
    assert second.wait()
    third.begin("ada")


def test_a_request_that_has_ended_takes_nothing_more() -> None:
    limits = Limits()
    limits.waits = Limit(1, 1)
    share = Share(limits)
    share.begin("ada")
    ended(share)
    assert not share.wait()
    assert limits.waits.take("ada")
