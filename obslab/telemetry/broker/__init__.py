"""Brokers, and the link to one.

silence -> link -> command             paho with its traps closed
settings, access -> mosquitto -> folders     configurations that lose nothing and let nobody in
options, conffile -> lint              what of a configuration does
brokers, relay                         a broker, or an emulated satellite link, started here
"""
