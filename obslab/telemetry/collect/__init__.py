"""From a broker into an archive: ``intake`` sorts messages, ``collector`` stores and then acknowledges."""
