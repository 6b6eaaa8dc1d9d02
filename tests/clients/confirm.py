"""Runs a command at a terminal, and answers yes to what it asks there: `confirm.py COMMAND...`."""

import os
import pty
import select
import sys
import time

SECONDS_MAX = 30
# A program that asks where the cursor is waits for the answer before it reads what is typed.
WHERE_IS_THE_CURSOR, HERE = b"\x1b[6n", b"\x1b[1;1R"
QUESTION, YES = b"(y/N)", b"y\r"

pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])

said = b""
located = 0
until = time.monotonic() + SECONDS_MAX
while time.monotonic() < until:
    if not select.select([terminal], [], [], 0.5)[0]:
        # What is typed before it waits for that is lost, so it is typed again.
        if QUESTION in said:
            os.write(terminal, YES)
        continue
    try:
        said += os.read(terminal, 65536)
    except OSError:  # It has ended.
        break
    while said.count(WHERE_IS_THE_CURSOR) > located:
        located += 1
        os.write(terminal, HERE)
else:
    os.kill(pid, 9)
sys.stdout.buffer.write(said)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
