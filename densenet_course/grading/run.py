"""A class graded: what was handed in, judged, written to the ledger, reported; the same call goes on after any end."""

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout
from tqdm import tqdm

from densenet_course.grading import crew, notebook
from densenet_course.grading.intake import collect
from densenet_course.grading.ledger import Ledger
from densenet_course.grading.people import read_roster, same
from densenet_course.grading.platforms import due_date
from densenet_course.grading.verdict import INFRA, Order


@dataclass(frozen=True)
class Wishes:
    """How a class is to be graded.

    Args:
        exercises: the only ones to grade; by default all that somebody handed in.
        roster: path of the class list, or None.
        due: when it was due, as text, or "".
        workers: processes that judge.
        scheduler: address of a Dask cluster that judges instead, or "".
        regrade: id or name of a student to judge again, or "".
        isolated: whether each notebook runs in a sandbox.
        worker: "module:name" of what judges.
    """

    exercises: tuple[str, ...] = ()
    roster: Path | None = None
    due: str = ""
    workers: int = 1
    scheduler: str = ""
    regrade: str = ""
    isolated: bool = True
    worker: str = crew.WORKER


def grade(submissions, out, releases, wishes=None):
    """Grade a class: judge what has no verdict yet, and write ``out/ledger.sqlite``.

    Args:
        submissions: a folder or a zip file.
        out: a folder; what stands in its ledger is not judged again.
        releases: exercise's id → path of the notebook that was handed out.
        wishes: a ``Wishes``.

    Returns:
        (how many were judged now, how many of them INFRA).

    Raises:
        OSError: a file cannot be read or written, or another run is under way in the same folder.
        ValueError: an option does not fit.
    """
    wishes = wishes or Wishes()
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out / ".lock", blocking=False), Ledger(out / "ledger.sqlite") as ledger:
            _take_in(ledger, submissions, releases, wishes)
            released = {name: notebook.read(path.read_bytes()) for name, path in releases.items()}
            return _judge(ledger, Plan(ledger, released, wishes), wishes)
    except Timeout:
        raise OSError(f"{out}: another run is grading into this folder; wait for it, or choose another one") from None


def _take_in(ledger, submissions, releases, wishes):
    """Bring the ledger up to date with what is handed in, in one transaction."""
    stems = {name: path.stem for name, path in releases.items()}
    with ledger.transaction():
        found = collect(submissions, stems, ledger.keep, chosen=wishes.exercises,
                        roster=read_roster(wishes.roster) if wishes.roster else (),
                        due=due_date(wishes.due) if wishes.due else None)
        if not found.works and not found.people:
            raise ValueError(f"{submissions}: found no notebook of a student. {_first_stray(found)}")
        ledger.replace_class(found)
        graded = wishes.exercises or {exercise for _, exercise in found.works}
        ledger.setting("exercises", " ".join(name for name in releases if name in graded))
        ledger.setting("due", wishes.due)
        ledger.setting("roster", "yes" if wishes.roster else "")
        ledger.setting("isolation", "full" if wishes.isolated else "none")
        ledger.setting("checks", crew.checks_version())
        ledger.setting("gradebook", str(Path(submissions).resolve().parent / "gradebook.db"))


def _first_stray(found):
    return f"{found.strays[0][0]} {found.strays[0][1]}" if found.strays else "The folder is empty"


class Plan:
    """The orders of a run by (student, exercise); each is made when it is asked for, so that few are held at a time.

    Args:
        ledger: a ``Ledger``.
        released: exercise's id → cells of the notebook that was handed out.
        wishes: a ``Wishes``.

    Raises:
        ValueError: there is no such student to judge again.
    """

    def __init__(self, ledger, released, wishes):
        self.ledger, self.released = ledger, released
        done = ledger.statuses(crew.checks_version(), "full" if wishes.isolated else "none")
        again = _ids(ledger, wishes.regrade)
        works = [work for work in ledger.works() if work.sha]
        self.works = {(work.student, work.exercise): work for work in works if work.student in again
                      or done.get((work.student, work.exercise, work.sha), INFRA) == INFRA}

    def __iter__(self):
        return iter(self.works)

    def __len__(self):
        return len(self.works)

    def __getitem__(self, key):
        work = self.works[key]
        cells = notebook.read(self.ledger.notebook(work.sha))
        return Order(work.exercise, notebook.to_run(cells, self.released[work.exercise]).cells, self.seed(work))

    def seed(self, work):
        """Return the seed of a piece of work."""
        return self.ledger.seed(work.student, work.exercise, work.sha)


def _ids(ledger, wanted):
    """Return the ids of the student who is to be judged again."""
    if not wanted:
        return set()
    found = {person.id for person, _ in ledger.people() if same(wanted) in map(same, (person.id, *person.keys))}
    if not found:
        raise ValueError(f"--regrade: expected a student of this class, got {wanted!r}; gradebook.csv has the names")
    return found


def _judge(ledger, plan, wishes):
    """Judge a plan, each verdict written as it comes, with a bar that tells the time left."""
    if wishes.scheduler:
        pool_of, size = partial(crew.cluster, wishes.scheduler), crew.workers_of(wishes.scheduler)
    else:
        pool_of, size = crew.processes, min(wishes.workers, max(1, len(plan)))
    infra = 0
    with tqdm(total=len(plan), unit="notebook", disable=None, file=sys.stderr) as bar:
        for key, verdict, seconds, torch in crew.judge_all(
                plan, pool_of, size, isolated=wishes.isolated, worker=wishes.worker):
            work = plan.works[key]
            ledger.record(work, verdict, checks=crew.checks_version(), seed=plan.seed(work), torch=torch,
                          seconds=seconds)
            infra += verdict.status == INFRA
            bar.update()
    return len(plan), infra
