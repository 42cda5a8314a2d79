"""What a SQLite file shows from outside: is it whole, may we write it, who has it open?"""

import os
from pathlib import Path


def cut_short(path: Path) -> bool:
    """Whether the last page lacks its end, which SQLite would take for zeros."""
    if not path.is_file() or _log(path).exists():  # with a log beside it SQLite repairs the file
        return False
    try:
        with path.open("rb") as file:
            header = file.read(18)
    except PermissionError:  # SQLite will say so
        return False
    page = int.from_bytes(header[16:18], "big")
    page = 65536 if page == 1 else page
    return header.startswith(b"SQLite format 3\0") and page > 0 and path.stat().st_size % page != 0


def _log(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def uri(path: Path) -> str:
    """The file as SQLite is to open it: to write where we may, else only to read."""
    address = path.resolve().as_uri()
    if not path.exists() or (_may_write(path) and _may_write(path.parent)):
        return address
    if _log(path).exists():
        return f"{address}?mode=ro"
    return f"{address}?mode=ro&immutable=1"  # without a log beside it that we may not make


def _may_write(path: Path) -> bool:
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def holders(path: Path) -> str:
    """Who else has the file open, as far as this machine tells (Linux: /proc)."""
    found = []
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            process = link.parts[2]
            if int(process) != os.getpid() and os.path.samefile(link, path):
                command = (
                    Path("/proc", process, "cmdline").read_text(errors="replace").replace("\0", " ")
                )
                found.append(f"process {process} ({command.strip()[:100]})")
        except OSError:  # ended meanwhile, or another user's
            continue
    if found:
        return "look for " + ", ".join(dict.fromkeys(found))
    return "look for another sweep, notebook or database browser that has it open"
