"""HTTP/2 as an attacker writes it: frames and header blocks that no client library would send."""

from __future__ import annotations

import random
import string
import struct
from collections.abc import Sequence

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING = 0, 1, 3, 4, 6
END_STREAM, END_HEADERS, ACK = 1, 4, 1

PATH_BYTES = [bytes((code,)) for code in range(33, 127)]

Header = tuple[bytes, bytes]


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One frame (RFC 9113, section 4.1)."""
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def opening() -> bytes:
    """What a client sends first."""
    return PREFACE + frame(SETTINGS, 0, 0, b"")


def header_block(headers: Sequence[Header]) -> bytes:
    """Headers as literals that are in no table (RFC 7541, section 6.2.2)."""
    return b"".join(b"\x00" + _text(name) + _text(value) for name, value in headers)


def _text(text: bytes) -> bytes:
    return _length(len(text)) + text


def _length(count: int) -> bytes:
    """An integer with a prefix of 7 bits (RFC 7541, section 5.1)."""
    if count < 127:
        return bytes((count,))
    rest, digits = count - 127, bytearray((127,))
    while rest >= 128:
        digits.append(rest % 128 | 128)
        rest //= 128
    return bytes((*digits, rest))


class Fuzzer:
    """Handshakes, header blocks and requests; the same seed makes the same ones."""

    def __init__(self, seed: int, path: str, token: str) -> None:
        self._dice = random.Random(seed)
        self._path = path.encode()
        self._token = token

    def handshake(self, hello: bytes) -> bytes:
        """Bytes for a port that expects the TLS message `hello`: none, noise, another protocol, or a broken one."""
        dice = self._dice
        kind = dice.randrange(5)
        if kind == 0:
            return dice.randbytes(dice.randrange(600))
        if kind == 1:
            return hello[: dice.randrange(len(hello))]
        if kind == 2:
            changed = bytearray(hello)
            for _ in range(dice.randint(1, 8)):
                changed[dice.randrange(len(changed))] = dice.randrange(256)
            return bytes(changed)
        if kind == 3:
            return opening() + dice.randbytes(dice.randrange(40))
        # A record of the right kind that says it is longer, or shorter, than it is.
        return b"\x16\x03" + dice.randbytes(3) + hello[5 : 5 + dice.randrange(400)]

    def request(self, stream: int) -> bytes:
        """Frames of a call: most are a call with odd metadata, a few are no HTTP/2."""
        dice = self._dice
        block = header_block(self._headers())
        if dice.random() < 0.002:
            block = block[: dice.randrange(len(block))]
        elif dice.random() < 0.002:
            # Bytes of both kinds together may be another path, and one that is not text.
            first = dice.choice((0, 128))
            block += bytes(dice.randrange(first, first + 128) for _ in range(dice.randrange(1, 20)))
        sent = frame(HEADERS, END_HEADERS, stream, block)
        message = dice.choice((b"", b"\0\0\0\0\0", b"\0\0\0\0\x05\x0a\x03web", b"\1\0\0\0\3abc", dice.randbytes(9)))
        sent += frame(DATA, END_STREAM, stream, message)
        return sent[: dice.randrange(len(sent))] if dice.random() < 0.001 else sent

    def _headers(self) -> list[Header]:
        dice = self._dice
        headers = [
            (b":method", b"POST"),
            (b":scheme", b"https"),
            (b":path", self._path if dice.random() < 0.9 else self._other_path()),
            (b":authority", b"localhost"),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc" if dice.random() < 0.95 else self._text(20)),
        ]
        if dice.random() < 0.05:
            del headers[dice.randrange(len(headers))]
        headers += [(b"authorization", self._credential()) for _ in range(dice.choice((0, 1, 1, 1, 1, 2)))]
        headers += [self._odd_header() for _ in range(dice.randrange(4))]
        return headers

    def _other_path(self) -> bytes:
        """A method that does not exist. All are text: one that is not can end the process inside grpcio."""
        return b"/" + b"".join(self._dice.choices(PATH_BYTES, k=40))

    def _credential(self) -> bytes:
        """A token that is cut, changed, another one, or none at all; in a scheme that may be unknown."""
        dice, token = self._dice, self._token
        broken = dice.choice(
            (
                token[: dice.randrange(len(token))],
                token + dice.choice(string.ascii_letters),
                "",
                ".".join(self._text(20).decode("latin-1") for _ in range(3)),
                "eyJhbGciOiJub25lIn0.e30.",
                self._text(9_000 if dice.random() < 0.01 else 300).decode("latin-1"),
            )
        )
        scheme = dice.choice(("Bearer ", "bearer ", "Bearer", "Basic ", "", "Bearer  "))
        return (scheme + broken).encode("latin-1")

    def _odd_header(self) -> Header:
        dice = self._dice
        kind = dice.choices(range(6), (20, 20, 20, 1, 20, 20))[0]
        if kind == 0:
            return b"trace-bin", dice.randbytes(dice.randrange(40))
        if kind == 1:
            return b"grpc-timeout", dice.choice((b"-1S", b"99999999999H", b"1", b"S", b"0n", self._text(8)))
        if kind == 2:
            return b"x-request-id", self._text(dice.choice((10, 200, 7_000)))
        if kind == 3:
            return dice.choice((b"Upper-Case", b"", b"with space", b":late", b"n\xc3\xa4me", b"\0")), b"value"
        if kind == 4:
            return b"grpc-encoding", dice.choice((b"gzip", b"br", b"identity", self._text(6)))
        return b"traceparent", dice.choice((b"00-0-0-00", b"ff" * 30, self._text(55)))

    def _text(self, longest: int) -> bytes:
        dice = self._dice
        if dice.random() < 0.3:
            return dice.randbytes(dice.randrange(longest))
        return "".join(dice.choices(string.printable[:95], k=dice.randrange(longest))).encode()
