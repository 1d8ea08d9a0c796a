"""Runs a command on a terminal of its own, COLUMNS wide. Types a line of TYPED at each question. Prints what the terminal shows."""
import fcntl
import os
import pty
import select
import struct
import sys
import termios

columns, typed, command = int(sys.argv[1]), sys.argv[2].splitlines(), sys.argv[3:]
child, terminal = pty.fork()
if child == 0:
    fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    os.execv(command[0], command)
shown = b""
while True:
    readable, _, _ = select.select([terminal], [], [], 0.5)
    if not readable:
        # A question that hides its answer drops what was typed before, so nothing is typed until it waits.
        if typed and shown.endswith((b": ", b"] ")):
            os.write(terminal, typed.pop(0).encode() + b"\n")
        continue
    try:
        part = os.read(terminal, 65536)
    except OSError:
        break
    if not part:
        break
    shown += part
_, status = os.waitpid(child, 0)
sys.stdout.buffer.write(shown)
sys.stdout.flush()
sys.exit(os.waitstatus_to_exitcode(status))
