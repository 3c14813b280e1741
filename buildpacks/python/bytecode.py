# Compiles groups of files, each in a process that was forked from this one:
# all of them begin in the same state, so the bytes of a file depend on nothing
# but its group. On stdin: paths that end in NUL, groups that end in another.
import compileall
import os
import py_compile
import sys
import traceback

MODE = py_compile.PycInvalidationMode.UNCHECKED_HASH


def compile_group(paths):
    for path in paths:
        # A file that is no Python of this version stays without bytecode.
        compileall.compile_file(os.fsdecode(path), force=True, quiet=2, invalidation_mode=MODE)


def start(paths):
    if os.fork():
        return
    code = 1
    try:
        compile_group(paths)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def main():
    groups = [group.split(b"\0") for group in sys.stdin.buffer.read().split(b"\0\0") if group]
    workers = len(os.sched_getaffinity(0))
    failed = None
    for at in range(len(groups) + workers):
        if at >= workers and at - workers < len(groups):
            status = os.wait()[1]
            failed = failed or (status and f"a compiler ended with wait status {status}")
        if at < len(groups):
            start(groups[at])
    sys.exit(failed)


main()
