"""The prompt of `tracerag sql` as somebody at a terminal uses it: python terminal.py PROGRAM LAKE STATES.

A pseudo terminal stands for theirs: keys go in one by one, and what would be on the screen is read. STATES is the folder in
which statements are remembered. It ends with status 0 if the prompt does what its help says, and prints how many
statements were answered.
"""

import json
import os
import pty
import re
import select
import subprocess
import sys
import time

# More than any answer takes, in seconds.
LIMIT = 120
PROMPT = "tracerag> "
UP, TAB, ENTER, INTERRUPT, END = "\x1b[A", "\t", "\r", "\x03", "\x04"
# What moves the cursor, colours, and switches modes.
CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[=>]|\r|\x07")


class Terminal:
    def __init__(self, program: str, lake: str, states: str):
        environment = {**os.environ, "TERM": "xterm-256color", "XDG_STATE_HOME": states}
        environment.pop("TRACERAG_CONFIG", None)
        self.pid, self.screen = pty.fork()
        if self.pid == 0:
            os.execve(program, [program, "--lake", lake, "sql"], environment)
        self.text = ""
        self.read_to = 0

    def expect(self, wanted: str):
        """Waits for a text behind what was expected before."""
        until = time.monotonic() + LIMIT
        while (at := self.shown().find(wanted, self.read_to)) < 0:
            left = until - time.monotonic()
            assert left > 0, f"{wanted!r} does not come: {self.shown()[self.read_to:]!r}"
            if select.select([self.screen], [], [], min(left, 1))[0]:
                try:
                    self.text += os.read(self.screen, 65536).decode(errors="replace")
                except OSError:
                    raise AssertionError(f"it ended before {wanted!r}: {self.shown()[self.read_to:]!r}")
        self.read_to = at + len(wanted)

    def shown(self) -> str:
        return CONTROL.sub("", self.text)

    def type(self, keys: str):
        os.write(self.screen, keys.encode())

    def ends(self):
        """Waits until the program has ended well."""
        until = time.monotonic() + LIMIT
        while True:
            if select.select([self.screen], [], [], 0.1)[0]:
                try:
                    os.read(self.screen, 65536)
                except OSError:
                    pass  # The other end is closed.
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                assert os.waitstatus_to_exitcode(status) == 0, status
                return
            assert time.monotonic() < until, "it does not end"


def names(program: str, lake: str) -> tuple[dict[str, set[str]], set[str]]:
    """Tables with their columns, and functions."""

    def rows(query):
        command = [program, "--lake", lake, "sql", "--format", "json", query]
        return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)

    tables: dict[str, set[str]] = {}
    columns = "select table_name, column_name from information_schema.columns where table_schema = 'public'"
    for row in rows(columns):
        tables.setdefault(row["table_name"], set()).add(row["column_name"])
    functions = rows("select distinct routine_name from information_schema.routines")
    return tables, {row["routine_name"] for row in functions}


def beginning(name: str, others: set[str]) -> str | None:
    """A beginning of a name that is one of no other, if there is one that is shorter than the name."""
    for length in range(3, len(name)):
        if not any(other.startswith(name[:length]) for other in others - {name}):
            return name[:length]
    return None


def main(program: str, lake: str, states: str):
    tables, functions = names(program, lake)
    everything = set(tables).union(functions, *tables.values())
    table, begun = next((name, begun) for name in sorted(tables) if (begun := beginning(name, everything)))
    terminal = Terminal(program, lake, states)
    terminal.expect(PROMPT)

    # A statement over two lines is asked when its semicolon comes.
    terminal.type("select count(*) as n" + ENTER)
    terminal.type("from spans;" + ENTER)
    terminal.expect("| n ")
    terminal.expect("| 3 ")
    terminal.expect(PROMPT)

    # The arrow brings it back.
    terminal.type(UP)
    terminal.expect("from spans;")
    terminal.type(ENTER)
    terminal.expect("| 3 ")
    terminal.expect(PROMPT)

    # Tab completes the name of a table ..
    terminal.type(f"select count(*) as of_table from {begun}")
    terminal.expect(begun)
    terminal.type(TAB)
    terminal.expect(table)
    terminal.type(";" + ENTER)
    terminal.expect("| of_table ")
    terminal.expect(PROMPT)

    # .. and of a column.
    column = beginning("duration_ns", tables["spans"])
    assert column
    terminal.type(f"select max(spans.{column}")
    terminal.expect(column)
    terminal.type(TAB)
    terminal.expect("spans.duration_ns")
    terminal.type(") as longest from spans;" + ENTER)
    terminal.expect("| longest ")
    terminal.expect(PROMPT)

    # Ctrl-C gives a line up: nothing of it is asked with the next.
    terminal.type("select nonsense")
    terminal.expect("nonsense")
    terminal.type(INTERRUPT)
    terminal.expect(PROMPT)
    terminal.type("select 5 as five;" + ENTER)
    terminal.expect("| five ")
    terminal.expect(PROMPT)

    # Ctrl-D leaves.
    terminal.type(END)
    terminal.ends()

    # The next one remembers what was asked, and \q leaves it.
    terminal = Terminal(program, lake, states)
    terminal.expect(PROMPT)
    terminal.type(UP)
    terminal.expect("select 5 as five;")
    terminal.type(ENTER)
    terminal.expect("| five ")
    terminal.expect(PROMPT)
    terminal.type("\\q" + ENTER)
    terminal.ends()
    print(6)


main(*sys.argv[1:])
