"""Who takes a turn: Celery's child processes, or threads of `postroom run`. What a turn is stands in `deliver`."""
