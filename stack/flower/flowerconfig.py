"""Flower's configuration. Its name, its broker and its password come from the environment (`FLOWER_…`)."""

from flower.views import monitor
from tornado import web

max_tasks = 5000  # the default, 100,000, grows to gigabytes
purge_offline_workers = 300  # a worker that was scaled away is forgotten after so many seconds
read_only = True
inspect_timeout = 3000.0  # milliseconds; a busy worker takes its time
auto_refresh = True

# Of Flower's pages these two are open to anybody, even with a password set. Here they are not.
for view in (monitor.Metrics, monitor.Healthcheck):
    view.get = web.authenticated(view.get)
