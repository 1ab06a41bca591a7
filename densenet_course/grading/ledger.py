"""All that a class's grading knows, in one SQLite file: who handed in what, each verdict as it came, the class key."""

import hmac
import json
import secrets
import sqlite3
import zlib
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from densenet_course.grading.intake import HandedIn
from densenet_course.grading.people import Person
from densenet_course.grading.verdict import Judged, Verdict

FORMAT = "1"
TABLES = """
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS notebooks (sha TEXT PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS people (id TEXT PRIMARY KEY, name TEXT, keys TEXT, row TEXT, listed INTEGER);
CREATE TABLE IF NOT EXISTS works (student TEXT, exercise TEXT, sha TEXT, problem TEXT, file TEXT, received TEXT,
    late TEXT, notes TEXT, PRIMARY KEY (student, exercise));
CREATE TABLE IF NOT EXISTS strays (file TEXT, why TEXT, student TEXT);
CREATE TABLE IF NOT EXISTS verdicts (number INTEGER PRIMARY KEY, student TEXT, exercise TEXT, sha TEXT, checks TEXT,
    isolation TEXT, seed TEXT, torch TEXT, seconds REAL, status TEXT, verdict TEXT);
CREATE INDEX IF NOT EXISTS by_work ON verdicts (student, exercise, sha);
"""


class LedgerError(OSError):
    """The ledger cannot be read or written; nothing that it held is lost."""


class Ledger:
    """The file ``ledger.sqlite``; a context manager.

    Args:
        path: made where it is not there.

    Raises:
        LedgerError: it cannot be opened, or is no ledger of this format.
    """

    def __init__(self, path):
        self.path = Path(path)
        with self._told():
            self.base = sqlite3.connect(self.path, isolation_level=None)  # transactions are begun here
            self.base.executescript(TABLES)
        fresh = {"format": FORMAT, "key": secrets.token_hex(32)}
        with self.transaction():
            self.base.executemany("INSERT OR IGNORE INTO settings VALUES (?, ?)", fresh.items())
        if self.setting("format") != FORMAT:
            raise LedgerError(f"{path}: made by another version of the course; choose another folder for the grades")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.base.close()

    @contextmanager
    def _told(self):
        try:
            yield
        except sqlite3.Error as error:
            raise LedgerError(f"{self.path}: {error}. What is in it stays; when this is mended, the same command goes "
                              "on") from error

    @contextmanager
    def transaction(self):
        """Write all of a block or, where it is stopped, nothing of it."""
        with self._told(), self.base:
            self.base.execute("BEGIN")
            yield

    def setting(self, name, value=None):
        """Return a setting, "" where there is none; with a value, keep it."""
        with self._told():
            if value is not None:
                self.base.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, value))
            found = self.base.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
        return found[0] if found else ""

    def seed(self, student, exercise, sha):
        """Return the seed of a judging: the same for the same file, and nobody without the ledger can foresee it."""
        text = json.dumps([student, exercise, sha]).encode()
        return int.from_bytes(hmac.digest(bytes.fromhex(self.setting("key")), text, "sha256")[:7])

    def keep(self, sha, data):
        """Store a notebook's bytes under their SHA-256."""
        with self._told():
            self.base.execute("INSERT OR IGNORE INTO notebooks VALUES (?, ?)", (sha, zlib.compress(data)))

    def notebook(self, sha):
        """Return a notebook's bytes."""
        with self._told():
            return zlib.decompress(self.base.execute("SELECT data FROM notebooks WHERE sha = ?", (sha,)).fetchone()[0])

    def replace_class(self, found):
        """Put what a class has handed in now, a ``ClassFiles``, in the place of what it had before; verdicts stay."""
        for table in ("people", "works", "strays"):
            self.base.execute(f"DELETE FROM {table}")
        self.base.executemany("INSERT INTO people VALUES (?, ?, ?, ?, ?)", [
            (one.id, one.name, json.dumps(one.keys), json.dumps(one.row), one.id in found.listed)
            for one in found.people.values()])
        self.base.executemany("INSERT INTO works VALUES (?, ?, ?, ?, ?, ?, ?, ?)", [
            (one.student, one.exercise, one.sha, one.problem, one.file, one.received, one.late, json.dumps(one.notes))
            for one in found.works.values()])
        self.base.executemany("INSERT INTO strays VALUES (?, ?, ?)", found.strays)

    def people(self):
        """Return the class, ordered by id: a list of (``Person``, whether the roster lists them)."""
        return [(Person(id, name, tuple(json.loads(keys)), json.loads(row)), bool(listed)) for
                id, name, keys, row, listed in self._all("SELECT * FROM people ORDER BY id")]

    def works(self):
        """Return the list of ``HandedIn``, ordered by student and exercise."""
        return [HandedIn(*values, notes=tuple(json.loads(notes))) for *values, notes in
                self._all("SELECT * FROM works ORDER BY student, exercise")]

    def strays(self):
        """Return (path, why it was not used, student's id or "") of the files that were not."""
        return self._all("SELECT * FROM strays ORDER BY file, why, student")

    def record(self, work, verdict, *, checks, seed, torch, seconds):
        """Write a verdict in a transaction of its own."""
        with self.transaction():
            self.base.execute(
                "INSERT INTO verdicts VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (work.student, work.exercise, work.sha, checks, verdict.isolation, str(seed), torch, seconds,
                 verdict.status, json.dumps(asdict(verdict))))

    def statuses(self, checks, isolation):
        """Return the status of each newest verdict of this version of the checks: (student, exercise, sha) → status."""
        return {tuple(key): status for *key, status in self._all(
            "SELECT student, exercise, sha, status FROM verdicts WHERE checks = ? AND isolation = ? ORDER BY number",
            checks, isolation)}

    def verdicts(self, checks, isolation):
        """Return the newest verdicts of this version of the checks: (student, exercise, sha) → ``Verdict``."""
        rows = self._all("SELECT student, exercise, sha, verdict FROM verdicts WHERE checks = ? AND isolation = ? "
                         "ORDER BY number", checks, isolation)
        return {tuple(key): as_verdict(json.loads(text)) for *key, text in rows}

    def torch_versions(self, checks):
        """Return the versions of PyTorch that this version of the checks has judged with."""
        return [version for version, in self._all("SELECT DISTINCT torch FROM verdicts WHERE checks = ? ORDER BY torch",
                                                  checks)]

    def _all(self, query, *values):
        with self._told():
            return self.base.execute(query, values).fetchall()


def as_verdict(values):
    """Return the ``Verdict`` that ``dataclasses.asdict`` has taken apart and JSON has carried."""
    findings = tuple(Judged(**finding) for finding in values["findings"])
    errors = tuple((place, message) for place, message in values["errors"])
    return Verdict(**values | {"findings": findings, "errors": errors, "notes": tuple(values["notes"])})
