"""Train in several processes that torchrun started: their ranks, what they tell each other, and what one does for all.

Each rank trains on its part of every global batch, and ``DistributedDataParallel`` averages the gradients. So R ranks
take the steps of one process, up to rounding, but for two things:

- BatchNorm. Its mean and variance come from the rank's own B/R images, and the running ones from those of rank 0; the
  fewer images a rank has, the noisier they are. ``SyncBatchNorm``, on GPUs only, takes them from all B images.
- Dropout. Each rank draws its own. Resumed with as many ranks, a run draws what it would have drawn; with another
  number, other draws of the same kind.

Without torchrun there is one rank, and no function here changes anything.
"""

import contextlib
import io
import os
import sys
import time

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

GRACE = 10  # seconds in which torchrun ends a rank that has lost another


def rank():
    """Return the number of this process, from 0; rank 0 reports and saves."""
    return dist.get_rank() if _joined() else 0


def ranks():
    """Return how many processes train together."""
    return dist.get_world_size() if _joined() else 1


def restarted():
    """Tell whether torchrun starts this task again, after an error (``--max-restarts``)."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def _joined():
    return dist.is_available() and dist.is_initialized()


def run(task):
    """Run a task as one of the processes that torchrun started; without torchrun just run it.

    Ranks other than 0 print nothing on stdout. An error on one rank ends that process; torchrun then ends the others.

    Args:
        task: called without arguments.

    Returns:
        What the task returns.

    Raises:
        ValueError: this machine has fewer GPUs than processes.
        ConnectionError: another process ended before its time, and torchrun did not end this one.
    """
    if not (dist.is_available() and dist.is_torchelastic_launched()):
        return task()
    from torch.distributed.elastic.multiprocessing.errors import record  # lets torchrun show the first error

    _join()
    try:
        with contextlib.redirect_stdout(io.StringIO() if rank() else sys.stdout):
            result = record(_patient)(task)
    except BaseException:
        # NCCL's orderly end waits for the other ranks, which may be waiting for this one in a collective.
        if dist.get_backend() != "nccl":
            dist.destroy_process_group()
        raise
    dist.destroy_process_group()
    return result


def _patient(task):
    """Run a task; when another rank is lost, leave torchrun the time to end this one in silence.

    The message to read is that of the rank that failed, not that of one which waited for it in vain.
    """
    try:
        return task()
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        time.sleep(GRACE)
        raise ConnectionError(f"another process ended, or cannot be reached: {error}") from error


def _join():
    """Take this process's own GPU where there are any, and join the others: by NCCL on GPUs, by Gloo on CPUs."""
    if not torch.cuda.is_available():
        dist.init_process_group("gloo")
        return
    gpus, local_rank = torch.cuda.device_count(), int(os.environ["LOCAL_RANK"])
    if local_rank >= gpus:
        raise ValueError(f"torchrun: expected at most {gpus} processes on this machine, one for each GPU, got "
                         f"{os.environ['LOCAL_WORLD_SIZE']}. Lower --nproc-per-node")
    torch.cuda.set_device(local_rank)
    dist.init_process_group("nccl")


def gathered(value):
    """Collect what every rank has; all ranks call it, and all get the list, in the order of the ranks."""
    values = [value] * ranks()
    if _joined():
        dist.all_gather_object(values, value)
    return values


def totals(*numbers):
    """Add up, over all ranks, each of some numbers; all ranks call it and get the same sums."""
    return tuple(sum(column) for column in zip(*gathered(numbers), strict=True))


def on_rank_0(task):
    """Let rank 0 do something for all; all ranks call it, and get its result or its error.

    Args:
        task: called without arguments, on rank 0 only; what it returns can be pickled.
    """
    outcome = [None, None]  # result, error
    if rank() == 0:
        try:
            outcome[0] = task()
        except Exception as error:
            outcome[1] = error
    if _joined():
        dist.broadcast_object_list(outcome)
    if outcome[1] is not None:
        raise outcome[1]
    return outcome[0]


def separate_random_streams():
    """Give every rank its own random stream, for dropout; rank 0 goes on with the one it has."""
    if rank() > 0:
        torch.manual_seed(torch.initial_seed() + rank())


def data_parallel(model):
    """Wrap a model so that its gradients are means over all ranks; without torchrun return the model itself."""
    return DistributedDataParallel(model) if _joined() else model


def share_buffers(model):
    """Give BatchNorm's running mean and variance of rank 0 to all, so that all evaluate the same model."""
    for buffer in model.buffers():
        if _joined():
            dist.broadcast(buffer, 0)
