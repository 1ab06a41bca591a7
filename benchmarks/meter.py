"""Seconds and bytes of a task: one small object, in a form for a CPU and one for a CUDA GPU.

A meter is started, the task called, the meter stopped; then it tells the seconds between. A GPU works behind Python's
back: its form puts a mark into the GPU's own queue at start and stop, and waits for the second only when it is asked.
"""

import time
from itertools import accumulate


class OnCpu:
    """By this machine's clock; bytes as PyTorch's profiler sees them come and go."""

    def start(self):
        self.began = time.perf_counter()

    def stop(self):
        self.ended = time.perf_counter()

    def elapsed(self):
        """Return the seconds between start and stop."""
        return self.ended - self.began

    def peak_bytes(self, task):
        """Return the most bytes of tensors that a task holds at once, beyond those that were there before."""
        from torch.profiler import ProfilerActivity, profile

        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
            task()
        events = found.profiler.kineto_results.events()
        return max(accumulate((event.nbytes() for event in events if event.name() == "[memory]"), initial=0))


class OnCuda:
    """By events in the GPU's queue; bytes as PyTorch's allocator counts them. It has the methods of ``OnCpu``."""

    def start(self):
        import torch

        self.events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
        self.events[0].record()

    def stop(self):
        self.events[1].record()

    def elapsed(self):
        self.events[1].synchronize()
        return self.events[0].elapsed_time(self.events[1]) / 1e3  # from milliseconds

    def peak_bytes(self, task):
        import torch

        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        task()
        return torch.cuda.max_memory_allocated() - before


def meter_for(device):
    """Make the meter of a device, "cpu" or "cuda"."""
    return OnCuda() if str(device).startswith("cuda") else OnCpu()


def seconds_of(task, meter):
    """Time one call."""
    meter.start()
    task()
    meter.stop()
    return meter.elapsed()
