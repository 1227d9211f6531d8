"""Who takes a turn: the embedded worker's threads. What a turn is stands in `deliver`."""
