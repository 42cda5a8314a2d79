"""Archives of images, unpacked where nothing in them can reach outside the folder they are given."""

import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from filelock import FileLock

BROKEN = (
    tarfile.ReadError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,  # a zip method that Python does not know
)


def unpack(archive: Path, target: Path) -> Path:
    """The folder `target` with what the tar (plain, gzip, bzip2, xz) or zip `archive` holds.

    A target that holds anything is taken as it is: it was unpacked before, since it gets its name only when
    all is there. What a killed unpacking left beside it is removed; a second process waits for the first.

    Raises ValueError with the member's name, and leaves nothing behind, where a member would lie outside the
    folder, has an absolute path, is a link that leads out of it or lies behind a link, or is a device; and
    where the archive is truncated or neither tar nor zip. A zip with a link is refused.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.parent / f".{target.name}.lock"):
        if target.is_dir() and any(target.iterdir()):
            return target
        partial = target.parent / f".{target.name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            _extract(archive, partial)
            partial.replace(target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return target


def _extract(archive: Path, folder: Path) -> None:
    try:
        extract = _extract_tar if tarfile.is_tarfile(archive) else _extract_zip
        extract(archive, folder)
    except BROKEN as error:
        raise ValueError(f"{archive} is truncated or not a tar or zip archive: {error}") from error


def _extract_tar(archive: Path, folder: Path) -> None:
    links: set[PurePosixPath] = set()

    def checked(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo:
        place = _inside(archive, member.name, links)
        if member.issym() or member.islnk():
            start = place.parent if member.issym() else PurePosixPath()
            _check_link(archive, member.name, start, member.linkname)
            links.add(place)
        elif not (member.isfile() or member.isdir()):
            raise _refusal(archive, member.name, "is a device or pipe")
        return tarfile.data_filter(member, path)  # a second pair of eyes, and sane permissions

    with tarfile.open(archive) as opened:
        try:
            opened.extractall(folder, filter=checked)
        except tarfile.FilterError as error:
            raise _refusal(archive, error.tarinfo.name, str(error)) from error


def _extract_zip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            _inside(archive, member.filename, set())
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _refusal(archive, member.filename, "is a link or device")
            opened.extract(member, folder)


def _refusal(archive: Path, member: str, why: str) -> ValueError:
    return ValueError(f"{archive} is refused: its member {member!r} {why}")


def _inside(archive: Path, name: str, links: set[PurePosixPath]) -> PurePosixPath:
    """The member's place under the folder; a refusal where it has none, or lies behind a link."""
    place = PurePosixPath(name.replace("\\", "/"))
    if place.is_absolute() or (place.parts[:1] and place.parts[0].endswith(":")):
        raise _refusal(archive, name, "has an absolute path")
    if ".." in place.parts:
        raise _refusal(archive, name, "lies outside the folder")
    if links.intersection(place.parents):
        raise _refusal(archive, name, "lies behind a link")
    return place


def _check_link(archive: Path, name: str, start: PurePosixPath, link: str) -> None:
    """A link may climb first and descend then, never above the folder: so later links cannot bend it outwards."""
    towards = PurePosixPath(link.replace("\\", "/"))
    parts = list(towards.parts)
    climbs = next((i for i, part in enumerate(parts) if part != ".."), len(parts))
    if towards.is_absolute() or climbs > len(start.parts) or ".." in parts[climbs:]:
        raise _refusal(archive, name, f"is a link that leads outside the folder, to {link!r}")
