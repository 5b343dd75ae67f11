"""The log of an attempt: what is kept of it, and what is sent."""

import threading

import pytest

from greenlight.builder.job import LOG_LENGTH, Log


class Told(Log):
    """A log that counts how often it tells of a change."""

    def __init__(self) -> None:
        self.times = 0
        super().__init__(self.count)

    def count(self) -> None:
        self.times += 1


def test_a_log_is_what_was_written_last() -> None:
    log = Told()
    assert log.take() is None
    for number in range(100_000):
        log.add(f"{number}\n")
    text = "".join(f"{number}\n" for number in range(100_000))
    assert log.take() == text[-LOG_LENGTH:]
    assert log.take(16_384) == text[-16_384:]
    log.add("🥐" * 1_000_000)
    assert log.take() == "🥐" * LOG_LENGTH
    log.add("the end")
    assert log.take(10) == "🥐🥐🥐the end"


def test_it_keeps_little_more_than_it_sends() -> None:
    log = Told()
    for _ in range(100):
        log.add("🥐" * 100_000)
        log.add("x")
        assert log._text.tell() <= 4 * LOG_LENGTH


def test_it_tells_of_a_change_once_until_it_is_taken() -> None:
    log = Told()
    assert (log.changed, log.times) == (False, 0)
    log.add("a")
    log.add("b")
    assert (log.changed, log.times) == (True, 1)
    assert log.take() == "ab"
    assert not log.changed
    log.add("c")
    assert (log.changed, log.times, log.take()) == (True, 2, "abc")


def test_what_cannot_be_stored_is_replaced() -> None:
    log = Told()
    log.add("a\0b \ud83d \udd50\ud83e 🥐 \x1b[1mc\x1b[0m\x7f")
    text = log.take()
    assert text == "a�b � �� 🥐 \x1b[1mc\x1b[0m\x7f"
    text.encode()


@pytest.mark.parametrize("length", [1, 10])
def test_any_thread_may_write(length: int) -> None:
    log = Told()

    def write() -> None:
        for _ in range(1000):
            log.add("x" * length)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (log.take(), log.times) == ("x" * 4000 * length, 1)
