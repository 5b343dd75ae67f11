"""A builder: claims the builds of a Supabase project and runs a function of yours for each. See docs/builder.md.

    import asyncio
    from greenlight.builder import BuildFailed, Job, run

    async def build(job: Job) -> None:
        for number, step in enumerate(steps := job.document.decode().splitlines(), 1):
            await work_on(step)
            job.report(100 * number // len(steps), step)

    run(build, concurrency=4)

It acts with the project's secret key, so the HTTP service never imports it.
"""

from greenlight.admin import SupabaseRefusedError
from greenlight.builder.job import BuildFailed, Job
from greenlight.builder.main import run

__all__ = ["BuildFailed", "Job", "SupabaseRefusedError", "run"]
