"""The options that Mosquitto 2 knows: where each belongs and what kind of value it takes."""

from __future__ import annotations

from difflib import get_close_matches

# A kind is what the value is read as: "switch" is true or false, "number" a whole number, "text" anything.
# Mosquitto reads a number as C's atoi does: "1k" is 1 and "many" is 0, without a word.
GLOBAL = {
    "acl_file": "text",
    "allow_anonymous": "switch",
    "allow_duplicate_messages": "switch",
    "allow_zero_length_clientid": "switch",
    "auth_plugin": "text",
    "auth_plugin_deny_special_chars": "switch",
    "auto_id_prefix": "text",
    "autosave_interval": "number",
    "autosave_on_changes": "switch",
    "check_retain_source": "switch",
    "clientid_prefixes": "text",
    "connection_messages": "switch",
    "include_dir": "text",
    "log_dest": "text",
    "log_facility": "number",
    "log_timestamp": "switch",
    "log_timestamp_format": "text",
    "log_type": "text",
    "max_inflight_bytes": "number",
    "max_inflight_messages": "number",
    "max_keepalive": "number",
    "max_packet_size": "number",
    "max_queued_bytes": "number",
    "max_queued_messages": "number",
    "memory_limit": "number",
    "message_size_limit": "number",
    "password_file": "text",
    "per_listener_settings": "switch",
    "persistence": "switch",
    "persistence_file": "text",
    "persistence_location": "text",
    "persistent_client_expiration": "text",
    "pid_file": "text",
    "plugin": "text",
    "psk_file": "text",
    "queue_qos0_messages": "switch",
    "retain_available": "switch",
    "retained_persistence": "switch",
    "set_tcp_nodelay": "switch",
    "sys_interval": "number",
    "upgrade_outgoing_qos": "switch",
    "user": "text",
    "websockets_headers_size": "number",
    "websockets_log_level": "number",
}
LISTENER = {
    "bind_address": "text",
    "bind_interface": "text",
    "cafile": "text",
    "capath": "text",
    "certfile": "text",
    "ciphers": "text",
    "ciphers_tls1.3": "text",
    "crlfile": "text",
    "dhparamfile": "text",
    "http_dir": "text",
    "keyfile": "text",
    "listener": "text",
    "max_connections": "number",
    "max_qos": "number",
    "max_topic_alias": "number",
    "maximum_qos": "number",
    "mount_point": "text",
    "port": "number",
    "protocol": "text",
    "psk_hint": "text",
    "require_certificate": "switch",
    "socket_domain": "text",
    "tls_engine": "text",
    "tls_engine_kpass_sha1": "text",
    "tls_keyform": "text",
    "tls_version": "text",
    "use_identity_as_username": "switch",
    "use_subject_as_username": "switch",
    "use_username_as_clientid": "switch",
}
BRIDGE = {
    "address": "text",
    "addresses": "text",
    "bridge_alpn": "text",
    "bridge_attempt_unsubscribe": "switch",
    "bridge_bind_address": "text",
    "bridge_cafile": "text",
    "bridge_capath": "text",
    "bridge_certfile": "text",
    "bridge_identity": "text",
    "bridge_insecure": "switch",
    "bridge_keyfile": "text",
    "bridge_max_packet_size": "number",
    "bridge_outgoing_retain": "switch",
    "bridge_protocol_version": "text",
    "bridge_psk": "text",
    "bridge_require_ocsp": "switch",
    "bridge_tls_version": "text",
    "cleansession": "switch",
    "clientid": "text",
    "connection": "text",
    "idle_timeout": "number",
    "keepalive_interval": "number",
    "local_cleansession": "switch",
    "local_clientid": "text",
    "local_password": "text",
    "local_username": "text",
    "notification_topic": "text",
    "notifications": "switch",
    "notifications_local_only": "switch",
    "password": "text",
    "remote_clientid": "text",
    "remote_password": "text",
    "remote_username": "text",
    "restart_timeout": "text",
    "round_robin": "switch",
    "start_type": "text",
    "threshold": "number",
    "topic": "text",
    "try_private": "switch",
    "username": "text",
}
KNOWN = GLOBAL | LISTENER | BRIDGE

# These belong to the listener above them when per_listener_settings is true.
PER_LISTENER = ("acl_file", "allow_anonymous", "allow_zero_length_clientid", "password_file", "plugin")
# Options that come after a plugin and that only it understands.
_PLUGIN = ("auth_opt_", "plugin_opt_")


def known(key: str) -> bool:
    return key in KNOWN or key.startswith(_PLUGIN)


def nearest(key: str) -> str | None:
    """The known option that is most like an unknown one."""
    close = get_close_matches(key, KNOWN, n=1, cutoff=0.6)
    return close[0] if close else None
