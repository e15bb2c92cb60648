"""JSON Pointers (RFC 6901), one part at a time."""


def child(pointer: str, part: str | int) -> str:
    """The JSON Pointer of a key or an index below another pointer."""
    return f"{pointer}/{str(part).replace('~', '~0').replace('/', '~1')}"


def parent(pointer: str) -> str:
    """The JSON Pointer of what holds a value; the whole document's for itself."""
    return pointer.rpartition("/")[0]
