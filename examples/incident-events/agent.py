"""Starts an agent for each incident that is new or came back, with the prompt that `tracerag prompt` makes.

    HOOK_SECRET=whsec_... AGENT="my-agent --stdin" python3 agent.py [PORT]

The agent gets the prompt on its standard input. TRACERAG is the command that is asked, with its options, for example
"tracerag --lake s3://telemetry/lake".
"""

import os
import queue
import re
import shlex
import subprocess
import threading

import receiver

WANTED = {"new", "regressed"}
TRACE = re.compile(r"[0-9a-f]{32}")


def traces(event):
    """The tenant and the example traces that an agent is to look at. What comes from services is checked: it becomes an
    argument."""
    data = event["data"]
    incidents = data["events"] if data["kind"] == "grouped" else [data]
    wanted = [one.get("example_trace_id") or "" for one in incidents if one["kind"] in WANTED]
    return [(data["tenant"], trace) for trace in wanted if TRACE.fullmatch(trace)]


def command(tracerag, tenant, trace):
    """The command that prints the prompt. The tenant stands behind `=`, so that it cannot be an option."""
    return [*shlex.split(tracerag), f"--tenant={tenant}", "prompt", trace]


def work(jobs, tracerag, agent):
    """Runs one agent after the other; a receiver must answer within ten seconds, which an agent does not."""
    while True:
        tenant, trace = jobs.get()
        # An open trace has no bundle yet; a trace is closed seconds after its end.
        prompt = subprocess.run(command(tracerag, tenant, trace), stdout=subprocess.PIPE, check=False)
        if prompt.returncode == 0:
            subprocess.run(shlex.split(agent), input=prompt.stdout, check=False)


if __name__ == "__main__":
    jobs = queue.Queue()
    arguments = (jobs, os.environ.get("TRACERAG", "tracerag"), os.environ["AGENT"])
    threading.Thread(target=work, args=arguments, daemon=True).start()

    def take(event):
        for job in traces(event):
            jobs.put(job)

    receiver.serve(take)
