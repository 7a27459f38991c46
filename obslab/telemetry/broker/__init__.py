"""Brokers, and the link to one: ``link`` is paho with its traps closed, ``brokers`` starts one here."""
