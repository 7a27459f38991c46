"""How a paho client gets to a broker: login and TLS, and in words why it did not."""

from __future__ import annotations

import socket
import ssl

import paho.mqtt.client as paho

from obslab.config import Broker
from obslab.errors import ConfigError


def log_in(client: paho.Client, address: Broker) -> None:
    """Give the client user, password and TLS of an address. Raises ConfigError."""
    try:
        address.host.encode("idna")  # paho's thread would die of it
    except UnicodeError as error:
        raise ConfigError(f"broker {address.url}: {address.host!r} is not a host name: {error}") from error
    if address.user:
        client.username_pw_set(address.user, address.password)
    if address.tls:
        try:
            client.tls_set(ca_certs=str(address.ca) if address.ca else None)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"OBSLAB_MQTT_CA names {address.ca}, which cannot be used: {error}") from error


def why_not(address: Broker, error: BaseException | None) -> tuple[str, bool]:
    """One line on a connection that failed, and whether somebody must change a setting first."""
    url = address.url
    if isinstance(error, ssl.SSLCertVerificationError):
        why = f"{error.verify_message}; set OBSLAB_MQTT_CA to the certificate of the CA that signed it"
        return f"the certificate of broker {url} is not trusted: {why}", True
    if isinstance(error, ssl.SSLError) or (address.tls and isinstance(error, ConnectionResetError)):
        return f"no TLS with {url} ({error.strerror}); is that its TLS port? without TLS it is mqtt://", False
    if isinstance(error, socket.gaierror):
        return f"no broker: host {address.host!r} is not known ({error.strerror}); trying again", False
    return f"no broker answers at {url}; is it running? trying again", False
