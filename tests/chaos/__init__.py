"""Chaos: the whole distributed product under load while its parts are killed, frozen and emptied; then the books."""
