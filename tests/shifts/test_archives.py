"""Unpacking: what is refused, by name and with nothing left behind, and what a kill leaves."""

import io
import stat
import tarfile
import zipfile

import pytest

from surgicalft.shifts import archives
from surgicalft.shifts.archives import unpack
from surgicalft.shifts.cifar_files import read_batches

LINK, HARD, PIPE, DEVICE = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE


def tar_of(path, *members, mode="w"):
    """Members are (name, content) or (name, link, type)."""
    with tarfile.open(path, mode) as archive:
        for name, value, *kind in members:
            member = tarfile.TarInfo(name)
            if kind:
                member.type, member.linkname = kind[0], value
                archive.addfile(member)
            else:
                member.size = len(value)
                archive.addfile(member, io.BytesIO(value))
    return path


def zip_of(path, *members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def files(folder):
    return {
        f.relative_to(folder).as_posix(): f.read_bytes()
        for f in sorted(folder.rglob("*"))
        if f.is_file() and not f.name.endswith(".lock")
    }


CONTENT = {"data/a.txt": b"a", "data/deep/er/b.txt": b"bb" * 5000, "c.txt": b""}


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.bz2", "tar.xz", "zip"])
def test_what_an_archive_holds(tmp_path, kind):
    path = tmp_path / f"x.{kind}"
    if kind == "zip":
        zip_of(path, *CONTENT.items())
    else:
        tar_of(path, *CONTENT.items(), mode=f"w:{kind[4:]}")
    target = unpack(path, tmp_path / "out" / "x")
    assert target == tmp_path / "out" / "x"
    assert files(target) == CONTENT
    path.unlink()
    assert files(unpack(path, target)) == CONTENT  # it is there, so the archive is not needed


def test_a_zip_stored_at_the_end_of_a_tar_does_not_make_it_a_zip(tmp_path):
    inner = zip_of(tmp_path / "inner.zip", ("evil.txt", b"evil")).read_bytes()
    path = tar_of(tmp_path / "x.tar", ("inner.zip", inner))
    assert files(unpack(path, tmp_path / "x")) == {"inner.zip": inner}


def test_links_that_stay_inside(tmp_path):
    path = tar_of(
        tmp_path / "x.tar",
        ("data/a.txt", b"a"),
        ("links/near", "../data/a.txt", LINK),
        ("links/folder", "../data", LINK),
        ("hard", "data/a.txt", HARD),
    )
    target = unpack(path, tmp_path / "x")
    assert (target / "links" / "near").read_bytes() == b"a"
    assert (target / "links" / "folder" / "a.txt").read_bytes() == b"a"
    assert (target / "hard").read_bytes() == b"a"


EVIL = {
    "parent": ([("../evil", b"evil")], "'../evil' lies outside the folder"),
    "up and down": ([("a/../../evil", b"evil")], "'a/../../evil' lies outside"),
    "absolute": ([("/tmp/evil", b"evil")], "'/tmp/evil' has an absolute path"),
    "drive": ([("C:/evil", b"evil")], "'C:/evil' has an absolute path"),
    "backslashes": ([("..\\evil", b"evil")], "lies outside the folder"),
    "link up": ([("l", "..", LINK)], "'l' is a link that leads outside the folder, to '..'"),
    "deep link": ([("a/b/l", "../../../evil", LINK)], "'a/b/l' is a link that leads outside"),
    "absolute link": ([("l", "/etc", LINK)], "'l' is a link that leads outside .* '/etc'"),
    "hard link": ([("l", "../evil", HARD)], "'l' is a link that leads outside"),
    "hard link counted from the root": ([("a/l", "../evil", HARD)], "'a/l' is a link that leads"),
    "behind a link": ([("a/l", "../b", LINK), ("a/l/x", b"x")], "'a/l/x' lies behind a link"),
    "links in a chain": (
        [("p/q", "c/../..", LINK), ("p/c", "..", LINK)],
        "'p/q' is a link that leads outside",
    ),
    "pipe": ([("pipe", "", PIPE)], "'pipe' is a device or pipe"),
    "device": ([("null", "", DEVICE)], "'null' is a device or pipe"),
}


@pytest.mark.parametrize("name", EVIL)
def test_a_tar_that_reaches_outside(tmp_path, name):
    members, message = EVIL[name]
    path = tar_of(tmp_path / "evil.tar", ("good.txt", b"good"), *members)
    with pytest.raises(ValueError, match=rf"evil\.tar is refused: its member .*{message}"):
        unpack(path, tmp_path / "in" / "side")
    assert files(tmp_path) == {"evil.tar": path.read_bytes()}
    assert not list((tmp_path / "in").glob("*side*/"))


@pytest.mark.parametrize("name", ["parent", "up and down", "absolute", "drive", "backslashes"])
def test_a_zip_that_reaches_outside(tmp_path, name):
    ((member, content),), message = EVIL[name]
    path = zip_of(tmp_path / "evil.zip", ("good.txt", b"good"), (member, content))
    with pytest.raises(ValueError, match=rf"evil\.zip is refused: its member .*{message}"):
        unpack(path, tmp_path / "in" / "side")
    assert files(tmp_path) == {"evil.zip": path.read_bytes()}


def test_a_zip_with_a_link(tmp_path):
    link = zipfile.ZipInfo("l")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    path = zip_of(tmp_path / "evil.zip", (link, b"/etc"))
    with pytest.raises(ValueError, match="member 'l' is a link or device"):
        unpack(path, tmp_path / "x")


def test_what_python_itself_refuses_is_named_too(tmp_path, monkeypatch):
    """Were a case missed here, Python's filter would raise, and its error becomes ours."""
    monkeypatch.setattr(archives, "_inside", lambda archive, name, links: tmp_path)
    path = tar_of(tmp_path / "evil.tar", ("../evil", b"evil"))
    with pytest.raises(ValueError, match=r"its member '\.\./evil' .*outside the destination"):
        unpack(path, tmp_path / "x")


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.xz", "zip"])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.8])
def test_a_truncated_archive(tmp_path, kind, share):
    noise = bytes(i * i % 251 for i in range(40_000))
    path = tmp_path / f"x.{kind}"
    if kind == "zip":
        zip_of(path, ("a", noise), ("b", noise))
    else:
        tar_of(path, ("a", noise), ("b", noise), mode=f"w:{kind[4:]}")
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ValueError, match=rf"x\.{kind} is truncated or not a tar or zip archive"):
        unpack(path, tmp_path / "in" / "x")
    assert list((tmp_path / "in").glob("*x*/")) == []


def test_a_file_that_is_no_archive_and_one_that_is_not_there(tmp_path):
    path = tmp_path / "x.tar"
    path.write_text("<html>Not found</html>" * 100)
    with pytest.raises(ValueError, match=r"x\.tar is truncated or not a tar or zip archive"):
        unpack(path, tmp_path / "x")
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"x\.tar"):
        unpack(path, tmp_path / "x")


def test_an_interrupted_unpacking_leaves_no_folder(tmp_path, monkeypatch):
    path = tar_of(tmp_path / "x.tar", ("a", b"a"), ("b", b"b"))
    seen = []

    def interrupted(member, where):
        seen.append(member.name)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return member

    with monkeypatch.context() as patch:
        patch.setattr(tarfile, "data_filter", interrupted)
        with pytest.raises(KeyboardInterrupt):
            unpack(path, tmp_path / "x")
    assert seen == ["a", "b"]
    assert files(tmp_path) == {"x.tar": path.read_bytes()}
    assert files(unpack(path, tmp_path / "x")) == {"a": b"a", "b": b"b"}


def test_what_a_killed_unpacking_left_is_not_used(tmp_path):
    """A kill leaves the folder under another name; the next unpacking starts from nothing."""
    left = tmp_path / ".x.partial"
    left.mkdir()
    (left / "half").write_bytes(b"half")
    path = tar_of(tmp_path / "x.tar", ("a", b"a"))
    assert files(unpack(path, tmp_path / "x")) == {"a": b"a"}
    assert not left.exists()


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "x").mkdir()
    path = tar_of(tmp_path / "x.tar", ("a", b"a"))
    assert files(unpack(path, tmp_path / "x")) == {"a": b"a"}


def test_cifar_archives_are_unpacked_by_it(tmp_path, monkeypatch):
    monkeypatch.setenv("SURGICALFT_CACHE", str(tmp_path / "cache"))
    path = tar_of(tmp_path / "cifar-10-python.tar.gz", ("../evil", b"evil"), mode="w:gz")
    with pytest.raises(ValueError, match=r"refused: its member '\.\./evil'"):
        read_batches(path)
    assert files(tmp_path / "cache") == {}
