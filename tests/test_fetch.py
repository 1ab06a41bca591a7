"""FashionMNIST is found, verified and laid out; whatever goes wrong ends in a clean recovery or a clear error."""

import errno
import gzip
import hashlib
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from torchvision.datasets import FashionMNIST

from densenet_course import fetching
from densenet_course.fetching import Location, data_root, intake, prepare, sample, sources

CONTENT = {name: random.Random(name).randbytes(3000 + i) for i, name in enumerate(fetching.FILES)}
TABLE = {name: (len(content), hashlib.sha256(content).hexdigest()) for name, content in CONTENT.items()}
FIRST = next(iter(CONTENT))
BOMB = gzip.compress(b"\0" * 20_000_000)
USER_CACHE = fetching.user_cache
AUTHORS = sources.AUTHORS


@pytest.fixture(autouse=True)
def nothing_around(monkeypatch, tmp_path):
    """A small data set of four files, which no source has yet; each test opens the one it is about."""
    monkeypatch.setattr(fetching, "FILES", TABLE)
    monkeypatch.setattr(fetching, "SYSTEM_FOLDER", tmp_path / "no system copy")
    monkeypatch.setattr(fetching, "user_cache", lambda: tmp_path / "cache")
    monkeypatch.setattr(FashionMNIST, "mirrors", [])
    monkeypatch.setattr(sources, "AUTHORS", ())
    monkeypatch.setattr(fetching.tempfile, "gettempdir", lambda: str(tmp_path / "temporary"))
    monkeypatch.setattr(sources.shutil, "which", lambda program: None)
    monkeypatch.setattr(sources, "TIMEOUT", 2.0)
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def root(tmp_path):
    return tmp_path / "a folder" / "data"


def write_gzipped(folder):
    folder.mkdir(parents=True)
    for name, content in CONTENT.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(content))
    return folder


def raw(root):
    return root / "FashionMNIST" / "raw"


def assert_whole(root):
    assert {path.name: path.read_bytes() for path in raw(root).iterdir() if path.name in CONTENT} == CONTENT
    assert not list(raw(root).glob(".*.tmp")), "scratch files left behind"
    assert not (raw(root) / ".incoming").exists()


def assert_sample(location, root):
    assert location == Location(root / "sample", "the sample in the package densenet_course", True)
    assert not intake.problems(location.root, sample.files())
    assert not [name for name in CONTENT if (raw(root) / name).exists()], "the sample may not look like the full set"


# Where the root is.


def test_data_root_follows_the_environment_then_the_checkout(monkeypatch, tmp_path):
    monkeypatch.setenv("DENSENET_COURSE_DATA", str(tmp_path / "mine"))
    assert data_root() == tmp_path / "mine"
    monkeypatch.setenv("DENSENET_COURSE_DATA", "")
    assert data_root() == Path(__file__).resolve().parent.parent / "data"
    monkeypatch.setattr(fetching, "__file__", str(tmp_path / "site-packages" / "densenet_course" / "fetching.py"))
    assert data_root() == tmp_path / "cache"


@pytest.mark.skipif(sys.platform != "linux", reason="the custom of Linux; platformdirs knows the others")
def test_user_cache_follows_the_operating_system(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert USER_CACHE() == tmp_path / ".cache" / "densenet-course"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    assert USER_CACHE() == tmp_path / "elsewhere" / "densenet-course"


def test_without_a_home_the_temporary_folder_serves(monkeypatch, tmp_path):
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # what Python does for an id without an entry
    for name in ("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(fetching, "user_cache", USER_CACHE)
    (tmp_path / "file").write_text("in the way")
    if sys.platform == "linux":
        assert USER_CACHE() is None
        assert prepare(tmp_path / "file" / "data").root.is_relative_to(tmp_path / "temporary")


def test_a_tilde_that_means_no_folder_is_an_error(monkeypatch):
    monkeypatch.setenv("DENSENET_COURSE_DATA", "~nobody-of-this-name/data")
    with pytest.raises(ValueError, match="without ~"):
        data_root()


# Files that are there already.


def test_system_copy_is_unpacked_once_and_then_found(root, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(fetching, "SYSTEM_FOLDER", write_gzipped(tmp_path / "system"))
    first = prepare(root, download=False)
    assert (first.root, first.is_sample) == (root, False)
    assert "operating system's copy" in first.source
    assert "operating system's copy" in capsys.readouterr().out
    assert_whole(root)
    assert prepare(root) == Location(root, "files that were already there", False)
    assert capsys.readouterr().out == ""


def test_gzipped_files_under_the_root_are_enough(root):
    write_gzipped(raw(root))
    assert prepare(root).root == root
    assert_whole(root)


def write_plain(folder):
    folder.mkdir(parents=True)
    for name, content in CONTENT.items():
        (folder / name).write_bytes(content)


@pytest.mark.parametrize("tail", ["FashionMNIST", "FashionMNIST/raw"])
def test_a_root_that_names_a_folder_inside_the_layout_is_understood(root, tail, capsys):
    write_plain(raw(root))
    assert prepare(root / tail) == Location(root, "files that were already there", False)
    assert f"whole under {root}" in capsys.readouterr().out
    assert not (root / tail / "FashionMNIST").exists()


@pytest.mark.parametrize("write", [write_plain, write_gzipped])
def test_files_that_lie_bare_in_the_root_are_taken(root, write):
    write(root)
    assert prepare(root).is_sample is False
    assert_whole(root)


@pytest.mark.parametrize("place", ["cache", f"temporary/densenet-course-{fetching._user()}"])
def test_what_an_earlier_call_put_elsewhere_is_found_there(root, tmp_path, place):
    write_plain(raw(tmp_path / place))
    assert prepare(root).root == fetching.find(root) == tmp_path / place


@pytest.mark.parametrize("path", ["loop/data", "x" * 300])
def test_a_root_that_can_never_be_is_left_for_the_next(tmp_path, path, capsys):
    (tmp_path / "loop").symlink_to("loop")
    assert prepare(tmp_path / path).root == tmp_path / "cache" / "sample"
    assert "cannot write under" in capsys.readouterr().out


@pytest.mark.parametrize("damage", [
    lambda path: path.write_bytes(path.read_bytes()[:-7]),  # truncated
    lambda path: path.write_bytes(b"\0" * path.stat().st_size),  # corrupt, with the right size
    lambda path: path.write_bytes(b"<html>please log in</html>"),
    lambda path: (path.unlink(), path.mkdir()),
    lambda path: (path.unlink(), path.symlink_to("nowhere")),
])
def test_damaged_file_is_kept_aside_and_replaced(root, damage, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(fetching, "SYSTEM_FOLDER", write_gzipped(tmp_path / "system"))
    prepare(root)
    for number in ("", "2"):  # twice: the first one set aside is not overwritten
        damage(raw(root) / FIRST)
        assert prepare(root).is_sample is False
        assert_whole(root)
        assert os.path.lexists(raw(root) / f"{FIRST}.bad{number}")
        assert f"kept as {FIRST}.bad{number}" in capsys.readouterr().out


def test_reason_is_said(root, capsys):
    raw(root).mkdir(parents=True)
    (raw(root) / FIRST).write_bytes(CONTENT[FIRST][:-7])
    prepare(root)
    assert f"{FIRST} has 2,993 bytes instead of 3,000; kept as" in capsys.readouterr().out


def test_files_arrive_by_a_rename_only(root, monkeypatch, tmp_path):
    def broken(path, target, replace=Path.replace):
        if target.parent == raw(root):
            raise OSError(errno.EIO, "the rename fails")
        return replace(path, target)

    monkeypatch.setattr(fetching, "SYSTEM_FOLDER", write_gzipped(tmp_path / "system"))
    monkeypatch.setattr(Path, "replace", broken)
    assert_sample(prepare(root), root)


def test_damaged_file_without_a_replacement_is_not_left_where_it_would_be_read(root, capsys):
    raw(root).mkdir(parents=True)
    (raw(root) / FIRST).write_bytes(b"mine")
    assert_sample(prepare(root), root)
    assert (raw(root) / f"{FIRST}.bad").read_bytes() == b"mine"


def test_damaged_system_copy_falls_through(root, monkeypatch, tmp_path, capsys):
    system = write_gzipped(tmp_path / "system")
    archive = system / f"{FIRST}.gz"
    archive.write_bytes(archive.read_bytes()[:-20])
    monkeypatch.setattr(fetching, "SYSTEM_FOLDER", system)
    assert prepare(root).is_sample
    assert "damaged" in capsys.readouterr().out
    assert not (raw(root) / FIRST).exists()


# The mirrors.


class Mirror(BaseHTTPRequestHandler):
    """Serve the files well or badly; the first part of the path says how."""

    asked = ()

    def do_GET(self):
        manner, file_name = self.path.strip("/").split("/")
        self.asked.append((manner, file_name))
        if manner == "hang":
            self.server.over.wait(10)
            return
        if manner == "missing":
            self.send_error(404)
            return
        body = {"html": b"<html>please log in</html>", "wrong": gzip.compress(b"another data set"), "bomb": BOMB}.get(
            manner, gzip.compress(CONTENT[file_name.removesuffix(".gz")]))
        self.send_response(200)
        if manner != "cut":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if manner in ("half", "cut", "stall"):
            body = body[:len(body) // 2]
        try:
            for byte in body if manner == "drip" else ():
                self.wfile.write(bytes([byte]))
                if self.server.over.wait(0.05):
                    return
            self.wfile.write(body)
        except OSError:
            return  # the client has given up
        if manner == "stall":
            self.server.over.wait(10)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def mirrors(monkeypatch):
    """Return a function that sets the mirrors by manner, and gives the list of what is asked of them."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    server.over = threading.Event()
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    def use(*manners):
        Mirror.asked = []
        monkeypatch.setattr(FashionMNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/{m}/" for m in manners])
        return Mirror.asked

    yield use
    server.over.set()
    server.shutdown()
    server.server_close()


def test_download(root, mirrors):
    asked = mirrors("good")
    assert prepare(root) == Location(root, "torchvision's mirrors", False)
    assert_whole(root)
    assert [file_name.removesuffix(".gz") for _, file_name in asked] == list(CONTENT)


def test_the_authors_repository_is_asked_where_torchvisions_mirrors_fail(root, mirrors, monkeypatch):
    asked = mirrors("missing", "good")
    monkeypatch.setattr(sources, "AUTHORS", [FashionMNIST.mirrors.pop()])
    assert prepare(root).source == "the authors' repository"
    assert_whole(root)
    assert [manner for manner, _ in asked][:2] == ["missing", "good"]


def test_the_second_source_is_encrypted():
    assert all(mirror.startswith("https://") for mirror in AUTHORS)


@pytest.mark.parametrize("manner", ["hang", "stall", "half", "cut", "html", "wrong", "bomb", "missing", "drip"])
def test_bad_mirror_is_left_for_the_next(root, mirrors, manner, monkeypatch, capsys):
    monkeypatch.setattr(sources, "SLOW_SECONDS", 0.5)
    monkeypatch.setattr(sources, "SLOW_BYTES", 200)
    asked = mirrors(manner, "good")
    start = time.monotonic()
    assert prepare(root).source == "torchvision's mirrors"
    assert time.monotonic() - start < 8, "10 s is what the hanging mirrors take"
    assert_whole(root)
    assert [m for m, _ in asked].count(manner) == 1, "one failure is enough to leave a mirror"
    assert "FashionMNIST: not from 127.0.0.1" in capsys.readouterr().out


def test_only_missing_files_are_downloaded(root, mirrors):
    asked = mirrors("good")
    raw(root).mkdir(parents=True)
    (raw(root) / FIRST).write_bytes(CONTENT[FIRST])
    prepare(root)
    assert_whole(root)
    assert f"{FIRST}.gz" not in [file_name for _, file_name in asked]


def test_download_false_asks_nobody(root, mirrors, monkeypatch):
    monkeypatch.setattr(sources, "from_apt", lambda intake: pytest.fail("asked apt"))
    asked = mirrors("good")
    assert_sample(prepare(root, download=False), root)
    assert asked == []


def test_bad_mirrors_only_end_in_the_sample(root, mirrors, capsys):
    mirrors("html", "half", "missing")
    assert_sample(prepare(root), root)


def test_unreachable_mirror_fails_at_once(root, monkeypatch, capsys):
    monkeypatch.setattr(FashionMNIST, "mirrors", ["http://127.0.0.1:9/"])  # nobody listens there
    start = time.monotonic()
    assert_sample(prepare(root), root)
    assert time.monotonic() - start < 3
    assert "not from 127.0.0.1:9" in capsys.readouterr().out


def test_network_that_only_keeps_us_waiting_is_left_alone_for_a_while(root, mirrors, monkeypatch, capsys):
    asked = mirrors("missing")
    prepare(root)
    prepare(root)
    assert len(asked) == 2, "a network that fails quickly is asked again"
    monkeypatch.setattr(fetching, "LONG_WAIT", 0)
    prepare(root)
    asked = mirrors("good")
    capsys.readouterr()
    assert_sample(prepare(root), root)
    assert asked == []
    vain = root / ".waited-in-vain"
    assert f"to try it now, delete {vain}" in capsys.readouterr().out
    os.utime(vain, (time.time() - 16 * 60,) * 2)
    assert prepare(root).source == "torchvision's mirrors"


# The Debian package.


@pytest.fixture
def apt(tmp_path, monkeypatch):
    """Put an apt-get and a dpkg-deb on PATH that log their arguments; apt-get behaves as the file ``manner`` says."""
    if os.name == "nt":
        pytest.skip("there is no apt on Windows")
    write_gzipped(tmp_path / "package" / "usr" / "share" / "datasets" / "fashion-mnist")
    programs = {
        "apt-get": """
            echo "$@" >> "{tmp}/log"
            manner=$(cat "{tmp}/manner")
            case "$manner $*" in
              offline*) echo "E: Failed to fetch it  Could not connect to host" >&2; exit 100 ;;
              "no lists"*Lists=*update) exit 100 ;;
              "no lists"*Lists=*download*) touch d.deb ;;
              "no lists"*) echo "E: Unable to locate package" >&2; exit 100 ;;
              nothing*) ;;
              *) touch d.deb ;;
            esac""",
        "dpkg-deb": """
            test "$1" = -x && test -f "$2" && cp -r "{tmp}/package" "$3" """,
    }
    (tmp_path / "bin").mkdir()
    for program, script in programs.items():
        path = tmp_path / "bin" / program
        path.write_text("#!/bin/sh\n" + textwrap.dedent(script).format(tmp=tmp_path).strip() + "\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    monkeypatch.setattr(sources.shutil, "which", lambda program: str(tmp_path / "bin" / program))

    def use(manner):
        (tmp_path / "manner").write_text(manner)
        return lambda: (tmp_path / "log").read_text().splitlines()

    return use


def test_debian_package(root, apt):
    log = apt("good")
    assert prepare(root).source.startswith("the Debian package dataset-fashion-mnist")
    assert_whole(root)
    assert len(log()) == 1
    assert log()[0].endswith("download dataset-fashion-mnist")


def test_debian_package_without_package_lists(root, apt):
    log = apt("no lists")
    assert prepare(root).is_sample is False
    assert_whole(root)
    assert [line.split()[-1] for line in log()] == ["dataset-fashion-mnist", "update", "dataset-fashion-mnist"]
    assert "Lists=" not in log()[0]
    assert all(f"Dir::State::Lists={raw(root)}" in line for line in log()[1:]), "the machine's own lists stay untouched"


def test_apt_without_network_gives_up_after_one_try(root, apt, capsys):
    log = apt("offline")
    assert_sample(prepare(root), root)
    assert len(log()) == 1
    assert "Could not connect" in capsys.readouterr().out


def test_apt_that_leaves_no_package(root, apt, capsys):
    apt("nothing")
    assert_sample(prepare(root), root)
    assert "left no .deb" in capsys.readouterr().out


def test_no_apt_is_passed_in_silence(root, capsys):
    prepare(root)
    assert "apt" not in capsys.readouterr().out.partition("SAMPLE DATA")[0]


# The sample.


def test_sample_is_announced_every_time_and_yields_to_the_full_set(root, monkeypatch, tmp_path, capsys):
    for _ in range(2):
        assert_sample(prepare(root), root)
        printed = capsys.readouterr().out
        assert "SAMPLE DATA" in printed
        assert "6,000 training and 1,000 test images" in printed
        assert "accuracies will be lower" in printed
        assert "sudo apt-get install dataset-fashion-mnist" in printed
        assert str(raw(root)) in printed
        assert printed.isascii()
    monkeypatch.setattr(fetching, "SYSTEM_FOLDER", write_gzipped(tmp_path / "system"))
    assert prepare(root).is_sample is False


def test_damaged_sample_on_disk_is_made_again(root, capsys):
    place = prepare(root).root
    (raw(place) / FIRST).write_bytes(b"?")
    assert_sample(prepare(root), root)


def test_damaged_sample_in_the_package_is_an_error(root, monkeypatch, tmp_path):
    for path in sample.ASSETS.glob("*.gz"):
        (tmp_path / path.name).write_bytes(path.read_bytes()[:-9])
    monkeypatch.setattr(sample, "ASSETS", tmp_path)
    with pytest.raises(RuntimeError, match="install densenet-course again"):
        prepare(root)


# Folders that cannot be written, full disks, other processes, sudden ends.


def test_unwritable_root_moves_to_the_cache_with_a_message(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    location = prepare(tmp_path / "file" / "data")
    assert location.root == tmp_path / "cache" / "sample"
    assert f"cannot write under {tmp_path / 'file' / 'data'}" in capsys.readouterr().out


def test_read_only_root_with_whole_files_is_used_as_it_is(root, monkeypatch):
    raw(root).mkdir(parents=True)
    for name, content in CONTENT.items():
        (raw(root) / name).write_bytes(content)
    monkeypatch.setattr(fetching, "_writable_root", lambda root: pytest.fail("nothing needs to be written"))
    assert prepare(root).root == root


def test_no_writable_folder_at_all_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(fetching, "user_cache", lambda: tmp_path / "file" / "cache")
    monkeypatch.setattr(fetching.tempfile, "gettempdir", lambda: str(tmp_path / "file"))
    with pytest.raises(PermissionError, match="Set DENSENET_COURSE_DATA"):
        prepare(tmp_path / "file" / "data")


@pytest.mark.parametrize("where", ["unpacking", "downloading", "making the folder"])
def test_full_disk_is_a_clear_error_and_not_a_sample(root, monkeypatch, mirrors, where):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    mirrors("good")
    owner, name = {"unpacking": (intake.Intake, "accept"), "downloading": (sources, "_download"),
                   "making the folder": (fetching.tempfile, "TemporaryFile")}[where]
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, full)
        with pytest.raises(OSError, match=r"no space left under .* 55 MB.* DENSENET_COURSE_DATA") as caught:
            prepare(root)
    assert caught.value.errno == errno.ENOSPC
    assert prepare(root).is_sample is False
    assert_whole(root)


CHILD = """
import pathlib, sys, time
from densenet_course import fetching
from densenet_course.fetching import intake
root, system, slow = sys.argv[1], sys.argv[2], float(sys.argv[3])
fetching.FILES = {table!r}
fetching.SYSTEM_FOLDER = pathlib.Path(system)
problem = intake.problem
def slowly(path, *expected):
    if path.suffix == ".tmp":
        print("unpacked", flush=True)
        time.sleep(slow)
    return problem(path, *expected)
intake.problem = slowly
print(fetching.prepare(root, download=False), flush=True)
"""


def start_child(root, system, slow):
    line = [sys.executable, "-c", CHILD.format(table=TABLE), str(root), str(system), str(slow)]
    return subprocess.Popen(line, stdout=subprocess.PIPE, text=True)


def test_two_processes_at_once(root, tmp_path):
    system = write_gzipped(tmp_path / "system")
    first = start_child(root, system, 0.3)
    assert first.stdout.readline() == "unpacked\n"  # it holds the lock, and has three files to go
    second = start_child(root, system, 0.3)
    printed = [child.communicate(timeout=30)[0] for child in (first, second)]
    assert "operating system's copy" in printed[0]
    assert "another process is preparing the data" in printed[1]
    assert "files that were already there" in printed[1]
    assert "unpacked" not in printed[1]
    assert_whole(root)


def test_killed_half_way_then_again(root, tmp_path, monkeypatch):
    system = write_gzipped(tmp_path / "system")
    child = start_child(root, system, 60)
    assert child.stdout.readline() == "unpacked\n"
    child.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
    child.communicate(timeout=10)
    assert list((raw(root) / ".incoming").glob(f".{FIRST}.*.tmp")), "the kill came too late to prove anything"
    monkeypatch.setattr(fetching, "SYSTEM_FOLDER", system)
    assert prepare(root).root == root
    assert_whole(root)
    assert not list(raw(root).glob("*.bad*"))


def test_lock_that_is_never_released_is_a_clear_error(root, monkeypatch, capsys):
    from filelock import FileLock

    monkeypatch.setattr(fetching, "LOCK_SECONDS", 0.2)
    root.mkdir(parents=True)
    with FileLock(root / ".prepare.lock"), pytest.raises(TimeoutError, match="call prepare\\(\\) again"):
        prepare(root)
