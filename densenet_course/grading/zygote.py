"""A fork server: it imports torch once, and each cell is a fork of it, in namespaces and limits of its own.

Runs inside bubblewrap, or as a plain process where the system cannot isolate. Talks with ``sandbox`` over a socket, a
line of JSON each way; a cell's socket and its file for printed text come beside the line as descriptors.
"""

import contextlib
import ctypes
import gc
import json
import os
import signal
import socket
import sys

CLONE = {"NEWNS": 0x20000, "NEWUTS": 0x4000000, "NEWIPC": 0x8000000, "NEWUSER": 0x10000000, "NEWPID": 0x20000000,
         "NEWNET": 0x40000000}
CGROUP = 0x2000000
NOSUID, NODEV, NOEXEC, REC, PRIVATE = 2, 4, 8, 0x4000, 1 << 18
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, CAPABILITIES = 1, 24, 38, 41
CELL, OUTPUT = 10, 1  # the descriptors that a cell has, beside stdin and stderr
DENIED = (  # what a notebook never needs, and what has opened ways out of sandboxes
    "acct", "add_key", "bpf", "chroot", "delete_module", "fanotify_init", "finit_module", "fsconfig", "fsmount",
    "fsopen", "fspick", "init_module", "io_uring_enter", "io_uring_register", "io_uring_setup", "kcmp",
    "kexec_file_load", "kexec_load", "keyctl", "memfd_secret", "mknod", "mknodat", "mount", "mount_setattr",
    "move_mount", "msgget", "name_to_handle_at", "open_by_handle_at", "open_tree", "perf_event_open", "personality",
    "pidfd_getfd", "pidfd_open", "pivot_root", "process_vm_readv", "process_vm_writev", "ptrace", "quotactl",
    "reboot", "request_key", "semget", "setgid", "setgroups", "setns", "setregid", "setresgid", "setresuid",
    "setreuid", "setuid", "shmget", "swapoff", "swapon", "syslog", "umount2", "unshare", "userfaultfd", "vmsplice",
)
HUGE, MADV_COLLAPSE, MANY_CELLS = 2 << 20, 25, 30  # bytes; number of the advice; cells from which it pays
TIOCSTI, EPERM, ENOSYS = 0x5412, 1, 38


def warm_up():
    """Import and use once all that cells would import, or read from a /proc that they do not have."""
    import IPython.core.interactiveshell
    import matplotlib.pyplot
    import matplotlib_inline.backend_inline  # noqa: F401
    import torch

    import densenet_course.checks.engine.stubs
    import densenet_course.checks.kinds.modules
    import densenet_course.grading.cell  # noqa: F401
    from densenet_course.grading import tracing

    torch.set_num_threads(1)  # threads do not survive a fork
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1).zero_grad()
    module = torch.nn.Sequential(torch.nn.BatchNorm2d(3), torch.nn.ReLU(), torch.nn.Conv2d(3, 4, 3),
                                 torch.nn.AvgPool2d(2), torch.nn.Flatten(), torch.nn.LazyLinear(2))
    module(torch.randn(1, 3, 8, 8)).sum().backward()
    for train in (False, True):
        tracing.trace({tracing.MODULES: [module]}, "", 0, (1, 3, 8, 8), train)
    matplotlib.pyplot.close(matplotlib.pyplot.figure())
    IPython.core.interactiveshell.InteractiveShell(colors="NoColor").run_cell("pass")


def use_huge_pages():
    """Gather this process's memory in huge pages: a fork copies a table of pages, and a table of fewer sooner.

    It takes seconds. A system that cannot leaves everything as it was; macOS has neither these pages nor /proc.
    """
    libc, ranges = ctypes.CDLL(None), []
    with contextlib.suppress(OSError), open("/proc/self/maps", encoding="utf-8") as maps:  # noqa: PTH123
        ranges = [line.split() for line in maps]
    for place, rights, _, _, _, *name in ranges:
        first, last = (int(address, 16) for address in place.split("-"))
        first, last = -(-first // HUGE) * HUGE, last // HUGE * HUGE
        if rights == "rw-p" and name in ([], ["[heap]"]) and first < last:
            libc.madvise(ctypes.c_void_p(first), ctypes.c_size_t(last - first), MADV_COLLAPSE)


def make_filter():
    """Make the filter of system calls that cells get."""
    import pyseccomp as seccomp

    made, refused = seccomp.SyscallFilter(seccomp.ALLOW), seccomp.ERRNO(EPERM)
    for name in DENIED:
        with contextlib.suppress(OSError, RuntimeError, ValueError):  # a machine that has no such call
            made.add_rule(refused, name)
    made.add_rule(refused, "socket", seccomp.Arg(0, seccomp.NE, socket.AF_UNIX))  # DataLoader's workers need that one
    made.add_rule(seccomp.ERRNO(ENOSYS), "clone3")  # its flags cannot be read by a filter; glibc falls back to clone
    for flag in (*CLONE.values(), CGROUP):
        made.add_rule(refused, "clone", seccomp.Arg(0, seccomp.MASKED_EQ, flag, flag))
    made.add_rule(refused, "ioctl", seccomp.Arg(1, seccomp.EQ, TIOCSTI))
    return made


def _must(result, what):
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def enter_namespaces(libc, disk):
    """Leave every namespace; return 0 in the child that is the first process of the new ones, else its id."""
    uid, gid = os.getuid(), os.getgid()
    _must(libc.unshare(sum(CLONE.values())), "unshare")
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:  # noqa: PTH123 - no more imports than needed here
            file.write(text)
    pid = os.fork()
    if pid:
        return pid
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    _must(libc.mount(None, b"/", None, ctypes.c_ulong(REC | PRIVATE), None), "private mounts")
    own = f"size={disk},nr_inodes=4096,mode=1777".encode()
    for place in (b"/w", b"/tmp", b"/dev/shm"):
        _must(libc.mount(b"tmpfs", place, b"tmpfs", ctypes.c_ulong(NOSUID | NODEV), own), "a folder of its own")
    _must(libc.mount(b"tmpfs", b"/proc", b"tmpfs", ctypes.c_ulong(NOSUID | NODEV | NOEXEC), b"size=4k,nr_inodes=2"),
          "no /proc")
    return 0


def give_up_rights(libc, limits, filter_):
    """Set the limits, drop every capability, and load the filter of system calls."""
    import resource

    for name, value in limits["resources"].items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))
    for capability in range(CAPABILITIES):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    header, nothing = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    _must(libc.capset(header, nothing), "capset")
    _must(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new rights")
    filter_.load()


def place_descriptors(channel, output):
    """Keep these two, and nothing else: CELL is the socket, stdout and stderr are the file, stdin is empty."""
    os.dup2(channel, CELL)
    os.dup2(output, 1), os.dup2(output, 2)
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.closerange(3, CELL), os.closerange(CELL + 1, 4096)


def become_cell(descriptors, limits, filter_, tell):
    """Turn this fork into a cell, and serve; never returns."""
    if filter_ is not None:
        libc = ctypes.CDLL(None, use_errno=True)
        inner = enter_namespaces(libc, limits["disk"])
        if inner:
            os.write(tell, str(inner).encode())
            os.closerange(3, 4096)
            os.waitpid(inner, 0)
            os._exit(0)
        home = "/w"
    else:
        os.setsid()  # so that all of its processes can be ended
        os.write(tell, str(os.getpid()).encode())
        home = limits["folder"]
    os.chdir(home)
    place_descriptors(*descriptors)
    if filter_ is not None:
        give_up_rights(libc, limits, filter_)
    os.environ.clear()
    os.environ.update(PATH="/usr/bin:/bin", HOME=home, OMP_NUM_THREADS="1", MPLBACKEND="agg", LANG="C.UTF-8",
                      TORCHDYNAMO_DISABLE="1", DENSENET_COURSE_OFFLINE="1")
    worker = os.fork()
    if worker:  # the first process of the namespace reaps; when the worker ends, everything ends
        os.closerange(3, 64)
        while os.wait()[0] != worker:
            pass
        os._exit(0)
    from densenet_course.grading import cell

    sys.stdout.reconfigure(line_buffering=True)  # what is printed must be there when the cell is killed
    cell.serve(socket.socket(fileno=CELL))


def spawn(order, descriptors, filter_):
    """Fork a cell; return what to tell."""
    hear, tell = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            become_cell(descriptors, order["limits"], filter_, tell)
        except BaseException as error:
            os.write(2, f"a cell could not be made: {error!r}\n".encode())
        os._exit(97)
    for descriptor in (*descriptors, tell):
        os.close(descriptor)
    first = os.read(hear, 32)
    os.close(hear)
    return {"pid": pid, "first": int(first or 0)}


def end(order, filter_):
    """End a cell and all of its processes."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if filter_ is not None:
            os.kill(order["first"], signal.SIGKILL)  # the kernel ends the whole namespace with its first process
        else:
            os.killpg(order["first"], signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(order["pid"], 0)
    return {}


def main(control, isolated):
    """Serve orders until the other side closes."""
    warm_up()
    filter_ = make_filter() if isolated else None
    gc.collect()
    gc.freeze()  # forks then share the pages of what is there already
    control.sendall(json.dumps({"ready": True}).encode() + b"\n")
    spawned = 0
    while True:
        line, descriptors, _, _ = socket.recv_fds(control, 1 << 16, 2)
        if not line:
            os._exit(0)
        order = json.loads(line)
        if order["do"] == "spawn":
            spawned += 1
            if spawned == MANY_CELLS:
                use_huge_pages()
            reply = spawn(order, descriptors, filter_)
        else:
            reply = end(order, filter_)
        control.sendall(json.dumps(reply).encode() + b"\n")


def try_out():
    """Make a cell of nothing, to see whether this system can: the exit status is 0."""
    filter_, libc = make_filter(), ctypes.CDLL(None, use_errno=True)
    inner = enter_namespaces(libc, 1 << 20)
    if not inner:
        give_up_rights(libc, {"resources": {"CORE": 0}}, filter_)
        os._exit(0)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(inner, 0)[1]))


if __name__ == "__main__" and sys.argv[1:] == ["check"]:
    try_out()
elif __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])), sys.argv[2] == "isolated")
