"""Save a training run in one step, and read it back."""

import os
import shutil
import tempfile
from pathlib import Path

import torch

from densenet_course.files import replacing
from densenet_course.training.distributed import gathered, on_rank_0, rank


def try_folder(folder):
    """Make a folder and write into it, before hours of training depend on it.

    Raises:
        OSError: what is in the way, and what to do.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"expected a folder, but {folder} is a file. Name another folder, or move the file")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"0")
    except OSError as error:
        raise OSError(f"cannot write into {folder}: {error.strerror}. Name another folder, or make this one writable "
                      "and its disk not full") from error


def save_checkpoint(path, state):
    """Write ``state`` to a temporary file beside ``path``, then rename: a killed process leaves the old file whole.

    Args:
        path: the checkpoint; its folder is made if missing.
        state: a dict of tensors, numbers, strings, lists and dicts.

    Raises:
        OSError: the file cannot be written, on a full disk for instance.
    """
    path = Path(path)
    try:
        with replacing(path) as draft, draft.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
    except (OSError, RuntimeError) as error:  # torch's writer meets a full disk with a RuntimeError
        free = shutil.disk_usage(path.parent).free
        raise OSError(f"could not write {path} ({str(error).splitlines()[0]}): {free / 1e6:,.0f} MB are free there; "
                      "your quota may allow less. Make room, or name another folder, and run it again") from error


def load_checkpoint(path):
    """Read a checkpoint; tensors arrive on the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a checkpoint; the message says what to do.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:  # torch.load raises half a dozen kinds for a damaged file
        raise ValueError(f"{path} is not a readable checkpoint ({error}). Move it away to start afresh.") from error


def random_state():
    """Collect the states of the random generators a training step may draw from (dropout)."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = [torch.cuda.get_rng_state()]  # of the one GPU that this process uses
    return state


def restore_random_state(state):
    """Set the random generators to what ``random_state`` collected."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"][0])


class Run:
    """A training run that survives being killed: its parts, its history, and the settings they belong to.

    Of several ranks, rank 0 alone reads and writes the file. A run may go on with another number of ranks: a rank that
    the checkpoint knows resumes its random stream, any other goes on with the one it has.

    Args:
        path: the checkpoint file, or None to keep nothing.
        settings: plain values; a checkpoint with other settings is refused.
        parts: what has a ``state_dict``: model, optimizer, scheduler.
    """

    def __init__(self, path, settings, **parts):
        self.path, self.settings, self.parts = path, settings, parts

    def resume(self):
        """Load the checkpoint, if there is one, and return its history; without one, return an empty list.

        Raises:
            ValueError: the checkpoint is damaged, or belongs to other settings or to another network.
            OSError: no checkpoint could be written.
        """
        if self.path is None:
            return []
        on_rank_0(lambda: try_folder(Path(self.path).parent))
        state = on_rank_0(lambda: load_checkpoint(self.path) if Path(self.path).exists() else None)
        if state is None:
            return []
        there = state.get("settings", {})
        changed = [f"{n} was {there.get(n)}, is {v}" for n, v in self.settings.items() if there.get(n) != v]
        if changed:
            raise ValueError(f"{self.path} is of another run: {'; '.join(changed)}. Name another file, or move it.")
        try:
            for name, part in self.parts.items():
                part.load_state_dict(state[name])
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"{self.path} is of another network: {error}. Name another file, or move it.") from error
        streams = [state["random"], *state.get("random_of_other_ranks", [])]
        if rank() < len(streams):
            restore_random_state(streams[rank()])
        return state["history"]

    def save(self, history):
        """Write the checkpoint, if a path was given."""
        if self.path is not None:
            states = {name: part.state_dict() for name, part in self.parts.items()}
            first, *others = gathered(random_state())
            states |= {"history": history, "settings": self.settings, "random": first, "random_of_other_ranks": others}
            on_rank_0(lambda: save_checkpoint(self.path, states))
