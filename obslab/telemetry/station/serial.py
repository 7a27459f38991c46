"""A serial port, through pyserial, which is imported when a port is made and not before."""

from __future__ import annotations

from typing import Any

from obslab.errors import NoLabError

_READ_S = 0.2


class SerialPort:
    """8 data bits, no parity, one stop bit. Raises NoLabError where pyserial is not installed.

    The port is taken for us alone: of two programs reading one port each gets half of the bytes.
    """

    waits = False

    def __init__(self, device: str, baud: int = 9600) -> None:
        try:
            import serial
        except ImportError as error:
            raise NoLabError(
                f"--serial {device} needs pyserial, which is not installed; pip install 'obslab[station]'"
            ) from error
        self.name, self.baud = device, baud
        self._make = serial.Serial
        self._port: Any = None

    def open(self) -> None:
        self._port = self._make(self.name, self.baud, timeout=_READ_S, exclusive=True)

    def read(self) -> bytes:
        data: bytes = self._port.read(max(1, self._port.in_waiting))
        return data

    def close(self) -> None:
        if self._port is not None:
            self._port.close()
            self._port = None
