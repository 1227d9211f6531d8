"""Measures Postroom beside other ways to build the same thing, on the same work, in one run. `make bench`."""
