# SPDX-License-Identifier: Apache-2.0
# What Node has no call for, asked for by lines on stdin and answered with "ok" or "error ...":
#   shutdown DIR FLAG                 EXT4_IOC_SHUTDOWN: the file system stops as if the power went
#   writeback FILE POSITION BYTES     sync_file_range: these pages reach the device, nothing else is promised
import ctypes
import fcntl
import os
import struct
import sys

EXT4_IOC_SHUTDOWN = 0x8004587D
WAIT_BEFORE, WRITE, WAIT_AFTER = 1, 2, 4
libc = ctypes.CDLL(None, use_errno=True)
libc.sync_file_range.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]


def run(command, path, *numbers):
    fd = os.open(path, os.O_RDONLY)
    try:
        if command == "shutdown":
            fcntl.ioctl(fd, EXT4_IOC_SHUTDOWN, struct.pack("I", int(numbers[0])))
        elif command == "writeback":
            if libc.sync_file_range(fd, int(numbers[0]), int(numbers[1]), WAIT_BEFORE | WRITE | WAIT_AFTER) != 0:
                raise OSError(ctypes.get_errno(), "sync_file_range")
        else:
            raise ValueError("unknown command " + command)
    finally:
        os.close(fd)


for line in sys.stdin:
    try:
        run(*line.rstrip("\n").split("\t"))
        print("ok", flush=True)
    except (OSError, ValueError) as error:
        print("error", error, flush=True)
