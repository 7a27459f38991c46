"""The files that `obslab init` writes to begin with: configuration, rules, and where secrets go."""

CONFIGURATION = """\
# The configuration of obslab on this machine; `obslab check` tests it. Paths are relative to this folder.
# A variable overrules it: [broker] url is also OBSLAB_BROKER_URL, and so on.
# User and password are never here but in the environment: OBSLAB_MQTT_USER, OBSLAB_MQTT_PASSWORD and, for a
# broker whose certificate this machine does not trust by itself, OBSLAB_MQTT_CA with the file of its CA.

[broker]
# mqtt://host:port, or mqtts://host:port with TLS, which anything beyond this machine should have.
url = "mqtt://127.0.0.1:1883"
# What the collector takes, as MQTT topic filters; "pea/#" is one station.
topics = ["#"]

[archive]
# Where the collector stores samples, and where `obslab watch` looks.
dir = "archive"
# Sealed days older than this are deleted, but for their summaries; more than a journal keeps. Default: never.
#keep_days = 3650
# A day is sealed into a compressed file when it has been over for so long.
#seal_after_days = 2

[journal]
# Where a station keeps its samples until the archive has confirmed them.
dir = "journal"
# Days of samples that it holds at most; beyond, the oldest go unconfirmed, which is counted and told.
#keep_days = 30

[state]
# What obslab remembers beside data, such as the alarms that were told.
dir = "state"
"""

RULES = """\
# What `obslab watch` looks at, and whom it calls. `obslab watch --test` sends a test by every action.
# Each alarm is told once, reminded of every remind_h hours, and followed by an all-clear.

every_s = 30                      # how often it looks

# ---- whom to call: without any of these, alarms are only printed (`journalctl -u obslab-watch`).

# A program, without a shell. It gets the facts as OBSLAB_ALARM_TEXT, OBSLAB_ALARM_WHAT (alarm, reminder,
# all-clear, test), OBSLAB_ALARM_RULE, OBSLAB_ALARM_SUBJECT, ... and all of them as JSON on standard input.
#[action.siren]
#kind = "command"
#argv = ["/usr/local/bin/siren", "--loud"]

# An HTTP POST of JSON; its "text" is what chat programs show. Secrets of a URL come from the environment.
#[action.chat]
#kind = "webhook"
#url = "${OBSLAB_WEBHOOK_URL}"

# A mail; the login comes from OBSLAB_SMTP_USER and OBSLAB_SMTP_PASSWORD.
#[action.mail]
#kind = "mail"
#host = "smtp.example.org"
#port = 587
#security = "starttls"            # or "tls" (port 465), or "none"
#from = "obslab@example.org"
#to = ["observer@example.org"]

# ---- the rules. In each of them: name, hold_s (broken for so long before it is told), clear_s (kept for so
# long before the all-clear), remind_h (0: never), do = ["mail"] (default: every action), and
# streams = ["pea/+/sec"] or units = ["pea/#"], topic filters that choose what it is about.

[[rule]]
kind = "stale"                    # no new sample of a stream, by the station's clock
after_s = 300                     # without it: INTERMAGNET's 30 s for 1 s data, 2 min for 1 min data

[[rule]]
kind = "gap"                      # samples that are missing, not filled yet or lost at source
longer_than_s = 60
hold_s = 900                      # the archive asks the station for them first

[[rule]]
kind = "link"                     # a unit, or a bridge between brokers, is offline
after_s = 600

[[rule]]
kind = "collector"                # it says nothing, has no broker, or is in trouble
after_s = 60

[[rule]]
kind = "disk"
archive_below_gb = 5
unit_below_gb = 1
journal_above = 500_000           # entries that wait for the archive: about three days of two instruments

[[rule]]
kind = "clock"                    # a unit's clock against the archive's
above_s = 1
hold_s = 300

[[rule]]
kind = "temperature"              # every component in degrees Celsius, unless one is named
min = -40
max = 60
hold_s = 300

[[rule]]
kind = "trouble"                  # a driver that fails, a full disk
hold_s = 60

# The standing check of vector and scalar: S + pier difference - F(vector). The vector is what
# `obslab archive adjust --follow` makes, or one that gives x, y, z itself.
#[[rule]]
#kind = "delta_f"
#vector = "pea/lemi0001-adj/sec"
#scalar = "pea/gsm90001/sec"
#pier_difference_nt = 0.0
#minutes = 10                     # median over so many
#above_nt = 3                     # off zero,
#change_nt = 1                    # or off what it was before_h = 24 hours ago
#hold_s = 600

# Any other number: housekeeping, or a field that cannot be.
#[[rule]]
#name = "battery"
#kind = "value"
#component = "u_supply"
#min = 11.5
#margin = 0.3                     # well again at 11.8
#hold_s = 600
"""

SECRETS = """\
# Secrets of the services, read by systemd only. Keep it 0600, and out of version control.
#OBSLAB_MQTT_USER=
#OBSLAB_MQTT_PASSWORD=
#OBSLAB_MQTT_CA=
#OBSLAB_SMTP_USER=
#OBSLAB_SMTP_PASSWORD=
#OBSLAB_WEBHOOK_URL=
"""
