"""Weight files written byte by byte, so that each test can spoil exactly one of them."""

from __future__ import annotations

import json
import struct
from binascii import crc32


def reader(data: bytes):
    """Return what the header readers take: bytes from a place."""
    return lambda start, length: data[start : start + length]


# --- safetensors -------------------------------------------------------------------------------------------------


def safetensors(header: dict | bytes, body: int | bytes = 0) -> bytes:
    """Return a safetensors file of a header and `body` bytes."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + (bytes(body) if isinstance(body, int) else body)


def tensor(shape: list[int], begin: int, end: int, dtype: str = "F32") -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


# --- GGUF --------------------------------------------------------------------------------------------------------


def gguf_text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def gguf_pair(key: str, kind: int, payload: bytes) -> bytes:
    return gguf_text(key) + struct.pack("<I", kind) + payload


def gguf_tensor(name: str, shape: list[int], kind: int, offset: int) -> bytes:
    return gguf_text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def gguf(pairs: list[bytes], tensors: list[bytes], body: int = 0, version: int = 3, magic: bytes = b"GGUF") -> bytes:
    head = magic + struct.pack("<IQQ", version, len(tensors), len(pairs)) + b"".join(pairs) + b"".join(tensors)
    return head + bytes(-len(head) % 32) + bytes(body)


# --- MindSpore ---------------------------------------------------------------------------------------------------


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def field(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def parameter(name: str, dims: list[int], content: bytes, dtype: str = "Float32") -> bytes:
    shape = b"".join(varint(1 << 3) + varint(side) for side in dims)
    return field(1, field(1, name.encode()) + field(2, shape + field(2, dtype.encode()) + field(3, content)))


# --- zip and checkpoints of torch.save ---------------------------------------------------------------------------


class Zip:
    """A zip archive in which every field of every member can be made a lie."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.entries: list[bytes] = []
        self.at = 0

    def add(self, name: str, data: bytes, **lies) -> Zip:
        """Append a member; `lies` are `method`, `flags`, `crc`, `local_name`, `size`, `before`, `stored`."""
        before = lies.get("before", b"")
        method, flags = lies.get("method", 0), lies.get("flags", 0)
        crc = lies.get("crc", crc32(data))
        size = lies.get("size", len(data))
        stored = lies.get("stored", len(data))
        own = lies.get("local_name", name).encode()
        central = name.encode()
        local = struct.pack("<4s5H3L2H", b"PK\3\4", 0, flags, method, 0, 0, crc, stored, size, len(own), 0)
        offset = self.at + len(before)
        self.entries.append(
            struct.pack("<4s6H3L", b"PK\1\2", 0, 0, flags, method, 0, 0, crc, stored, size)
            + struct.pack("<5H2L", len(central), 0, 0, 0, 0, 0, offset)
            + central
        )
        self.parts.append(before + local + own + data)
        self.at += len(self.parts[-1])
        return self

    def bytes(self, count: int | None = None) -> bytes:
        directory = b"".join(self.entries)
        count = len(self.entries) if count is None else count
        end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(directory), self.at, 0)
        return b"".join(self.parts) + directory + end


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value) if value < 2**31 else b"\x8a\x08" + value.to_bytes(8, "little")


def storage(key: str = "0", elements: int = 6, kind: str = "FloatStorage") -> bytes:
    """A persistent reference to a storage."""
    return (
        b"("
        + text("storage")
        + b"ctorch\n"
        + kind.encode()
        + b"\n"
        + text(key)
        + text("cpu")
        + number(elements)
        + b"tQ"
    )


HOOKS = b"ccollections\nOrderedDict\n)R"


def tensor_v2(
    shape: tuple[int, ...] = (2, 3), strides: tuple[int, ...] = (3, 1), offset: int = 0, where: bytes | None = None
) -> bytes:
    """A call of torch._utils._rebuild_tensor_v2."""
    sides = b"(" + b"".join(map(number, shape)) + b"t"
    steps = b"(" + b"".join(map(number, strides)) + b"t"
    call = b"ctorch._utils\n_rebuild_tensor_v2\n("
    return call + (where or storage()) + number(offset) + sides + steps + b"\x89" + HOOKS + b"tR"


def state_dict(*values: bytes) -> bytes:
    """The pickle of an OrderedDict with these values."""
    items = b"".join(text(f"w{n}") + value for n, value in enumerate(values))
    return b"\x80\x02" + HOOKS + b"(" + items + b"u."


def checkpoint(pickled: bytes, *storages: bytes, root: str = "archive") -> Zip:
    """The archive that torch.save writes around a pickle."""
    archive = Zip().add(f"{root}/data.pkl", pickled).add(f"{root}/byteorder", b"little")
    for key, data in enumerate(storages):
        archive.add(f"{root}/data/{key}", data)
    return archive.add(f"{root}/version", b"3\n")


def legacy(pickled: bytes, keys: dict[str, bytes]) -> bytes:
    """The five pickles and the storages of torch < 1.6."""
    magic = b"\x80\x02\x8a\x0a" + (0x1950A86A20F9469CFC6C).to_bytes(10, "little") + b"."
    names = b"\x80\x02](" + b"".join(map(text, keys)) + b"e."
    body = b"".join((len(data) // 4).to_bytes(8, "little") + data for data in keys.values())
    return magic + b"\x80\x02M\xe9\x03." + b"\x80\x02}." + pickled + names + body
