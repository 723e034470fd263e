"""Iterate over the chunks of a PNG file, as its specification lays them out."""

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

__all__ = ["SIGNATURE", "Chunk", "iterate_chunks"]

SIGNATURE = b"\x89PNG\r\n\x1a\n"


class Chunk(NamedTuple):
    """One chunk."""

    kind: bytes
    """Four letters; the first is a capital where the pixels cannot be read without the chunk."""
    data: bytes
    checksum: bytes
    """CRC-32 of kind and data, 4 bytes."""

    def to_bytes(self) -> bytes:
        """The chunk as it is in a file."""
        return struct.pack(">I", len(self.data)) + self.kind + self.data + self.checksum


def iterate_chunks(file: BinaryIO) -> Iterator[Chunk]:
    """The chunks of a PNG file from its beginning to its end.

    Raises:
        ValueError: The file is not a PNG, or ends before its last chunk.
    """
    file.seek(0)
    if file.read(len(SIGNATURE)) != SIGNATURE:
        raise ValueError("not a PNG file")
    kind = b""
    while kind != b"IEND":
        head = file.read(8)
        if len(head) < 8:
            raise ValueError("the PNG file is cut off")
        length, kind = struct.unpack(">I4s", head)
        data, checksum = file.read(length), file.read(4)
        if len(data) < length or len(checksum) < 4:
            raise ValueError("the PNG file is cut off")
        yield Chunk(kind, data, checksum)
