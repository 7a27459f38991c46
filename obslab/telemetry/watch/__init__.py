"""Looks at an archive by rules, and calls for help: nobody sits at the station for six months.

notice -> actions -> rules, lines -> rulesfile
       -> snapshot -> conditions -> alarms, outbox -> memory -> watcher

``snapshot`` reads, ``conditions`` judges (pure), ``alarms`` remembers what was told, ``outbox`` delivers.
"""
