"""Postroom, the post room of an application: accepts email over HTTP, delivers it, retries it, accounts for it."""

__version__ = "0.1.0"
