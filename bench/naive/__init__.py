"""The naive design, as today's tutorials show it: one request, one task, one connection for each email.

It is what Postroom is measured against, so it is kept honest: nothing in it is slower than the tutorials make it.
"""
