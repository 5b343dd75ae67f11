"""A notifier: claims what happened to plans and agents, and tells it to one target. See docs/notify.md.

It acts with the project's secret key, so the HTTP service never imports it.
"""
