"""A job whose process is killed; workers import this, so it imports little."""

import os
import signal
import time

from lens.sweeps.job import marked, run_job

ONCE, ALWAYS = 1, 3  # checkpoints at which a worker is killed


def killed(job):
    """The job, in a process that is killed as by a system without memory: at one checkpoint once, at another always."""
    been = job.marks / f"been-{job.index}"
    if job.index == ALWAYS or (job.index == ONCE and not been.exists()):
        with marked(job):
            been.touch()
            while not all((job.marks / f"been-{index}").exists() for index in (ONCE, ALWAYS)):
                time.sleep(0.01)  # both are on workers when the first is killed
            os.kill(os.getpid(), signal.SIGKILL)
    return run_job(job)
