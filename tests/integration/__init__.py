"""Tests of this tier; see `docs/testing.md`."""
