"""A builder: claims the builds of a Supabase project and runs a function of yours for each. See docs/builder.md.

    import asyncio
    from greenlight.worker import BuildFailed, Job, run

    async def build(job: Job) -> None:
        for number, step in enumerate(steps := job.document.decode().splitlines(), 1):
            await work_on(step)
            job.report(100 * number // len(steps), step)

    run(build, concurrency=4)

It acts with the project's secret key, so the HTTP service never imports it.
"""

from greenlight.worker.job import BuildFailed, Job
from greenlight.worker.main import run
from greenlight.worker.queue import Refused

__all__ = ["BuildFailed", "Job", "Refused", "run"]
