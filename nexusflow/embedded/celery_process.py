"""``celery worker`` and ``celery beat`` without loading every other command and plug-in of Celery's first.

That takes half of a worker's start-up time. ``python -m nexusflow.embedded.celery_process worker -Q …`` takes the
arguments that come after ``celery -A nexusflow``.
"""

import sys

from celery.bin.base import CLIContext

from nexusflow.celery import app


def main() -> None:
    """Run the command until it is told to stop."""
    command, *arguments = sys.argv[1:]
    if command == "worker":
        from celery.bin.worker import worker as run  # noqa: PLC0415 - one of the two is needed
    else:
        from celery.bin.beat import beat as run  # noqa: PLC0415
    app.set_current()
    run.main(arguments, prog_name=f"celery {command}", obj=CLIContext(app=app, no_color=True, workdir=None))


if __name__ == "__main__":
    main()
