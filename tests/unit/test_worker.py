"""The builder's package has one name; the one of 0.2 still works, and says what to write instead."""

import subprocess
import sys
import warnings

from greenlight import builder


def test_the_old_name_has_what_0_2_had_and_says_the_new_one() -> None:
    script = "from greenlight.worker import BuildFailed, Job, Refused, run; print(run.__module__)"
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert process.stdout == "greenlight.builder.main\n"
    assert "<string>:1: DeprecationWarning" in process.stderr
    assert "greenlight.worker is now greenlight.builder" in process.stderr


def test_the_new_name_has_the_same_and_warns_of_nothing() -> None:
    script = f"from greenlight.builder import {', '.join(builder.__all__)}"
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True
    )
    assert process.stderr == ""


def test_both_names_are_the_same_objects() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from greenlight import worker  # noqa: PLC0415 -- only here, because it warns

    assert (worker.BuildFailed, worker.Job, worker.run) == (builder.BuildFailed, builder.Job, builder.run)
    assert worker.Refused is builder.SupabaseRefusedError
