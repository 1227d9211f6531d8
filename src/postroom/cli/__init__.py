"""The command line: nothing but wiring, printing and exit codes.

Exit codes: 0 done; 1 refused or failed, with a sentence on standard error; 2 wrong usage or wrong settings; 3 accepted,
but its end cannot be learned (`send --wait`).
"""

import logging

import click

from postroom import __version__
from postroom.cli import check, emails, keys, rebuild_queue, run, serve, settings, sweep, worker


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="postroom")
def main() -> None:
    """The post room of an application: hand it an email over HTTP; it is delivered, retried and accounted for.

    `run` serves and delivers in one process; `serve`, `worker` and `sweep` do it in many, on any hosts.

    `send`, `status`, `list`, `cancel` and `retry` talk to a running Postroom, whose address and key they take from
    POSTROOM_API_URL (default http://127.0.0.1:8022) and POSTROOM_API_KEY.
    """
    # What a short command has to say it prints; events are for those that set up their logging.
    logging.getLogger("postroom").addHandler(logging.NullHandler())


main.add_command(run.run)
main.add_command(serve.serve)
main.add_command(worker.worker)
main.add_command(sweep.run_sweep)
main.add_command(rebuild_queue.rebuild_queue)
main.add_command(emails.send)
main.add_command(emails.status)
main.add_command(emails.list_emails)
main.add_command(emails.cancel)
main.add_command(emails.retry)
main.add_command(keys.keys)
main.add_command(check.check)
main.add_command(settings.settings)
