#!/usr/bin/env python3
"""The reference agent: no model, only rules, and no name of any system. It speaks tracerag.agent/1 (docs/evaluation.md),
needs Python 3.11 and git, and shows what an agent has to do; a model does better where the rules know nothing.

- The failure that the others came of is the one whose span lies deepest; where its span was given up on, whoever it called
  and went on for longer is slow.
- Claims say what failed, where, and what was in effect there. Each is verified before it is made.
- A test comes from the evidence (the tool scaffold_test), a patch from history: where the failure is not known of any other
  build, the files on its stack become what they were in the build before.
"""

import json
import pathlib
import re
import subprocess
import sys

# Sections of a bundle, what explains the failure first.
SECTIONS = ["failures", "failing_path", "flags", "builds", "logs", "heaps", "other_spans"]
LANGUAGES = {".go": "go", ".py": "python", ".js": "node", ".mjs": "node", ".ts": "node", ".java": "java"}


class Refused(Exception):
    """A tool did not answer."""


class Agent:
    """One task."""

    def __init__(self, task: dict):
        self.task = task
        self.repository = pathlib.Path(task["repository"])
        self.calls = 0
        self.evidence: dict[str, list] = {section: [] for section in SECTIONS}

    def call(self, tool: str, **arguments):
        """Calls a tool and waits for its answer."""
        self.calls += 1
        say({"type": "tool", "id": self.calls, "tool": tool, "arguments": arguments})
        answer = json.loads(sys.stdin.readline())
        if not answer["ok"]:
            raise Refused(answer["error"])
        return answer["result"]

    def read_bundle(self) -> None:
        """All sections, page by page."""
        asked = {"trace_id": self.task["trace_id"], "sections": SECTIONS, "max_tokens": 25000}
        cursor = None
        while True:
            page = self.call("get_evidence_bundle", **asked, **({"cursor": cursor} if cursor else {}))
            for section in SECTIONS:
                self.evidence[section] += page["data"].get(section, [])
            cursor = page.get("next_cursor")
            if cursor is None:
                return

    def rows(self, query: str) -> list[list]:
        """The rows of a statement; none where the evidence is withheld."""
        try:
            return self.call("run_sql", query=query)["data"].get("rows", [])
        except Refused:
            return []

    def work(self) -> dict:
        """The last message."""
        if not self.task.get("trace_id"):
            return {}
        self.read_bundle()
        self.spans = {span["span_id"]: span for span in self.evidence["failing_path"] + self.evidence["other_spans"]}
        origin = self.origin()
        if origin is None:
            return {}
        final = {"claims": self.verified(self.candidates(origin))}
        if test := self.test(origin):
            final["test"] = test
        if patch := self.patch(origin):
            final["patch"] = patch
        return final

    def depth(self, span_id: str | None) -> int:
        """How many spans are above."""
        depth = 0
        while span_id in self.spans and depth < 10_000:
            span_id = self.spans[span_id].get("parent_span_id")
            depth += 1
        return depth

    def origin(self) -> dict | None:
        """The failure that lies deepest; of several the one with the longest stack."""
        return max(
            self.evidence["failures"],
            key=lambda failure: (self.depth(failure.get("span_id")), len(frames(failure))),
            default=None,
        )

    def slow(self, origin: dict) -> dict | None:
        """The span that a caller gave up on: below the failure, in another service, and longer than its caller."""
        for span in self.spans.values():
            parent = self.spans.get(span.get("parent_span_id"), {})
            # Clocks of hosts differ, durations do not.
            outlasts = int(span.get("duration_ns") or 0) > int(parent.get("duration_ns") or 0) > 0
            if outlasts and parent.get("span_id") == origin.get("span_id") and span.get("service") != parent.get("service"):
                return span
        return None

    def candidates(self, origin: dict) -> list[dict]:
        """Claims that may hold; what cannot be said of one thing is said of another."""
        claims = []

        def claim(text: str, anchors: list[str], predicates=(), quotes=()):
            claims.append(
                {
                    "id": f"c{len(claims) + 1}",
                    "text": text,
                    "anchors": anchors,
                    "predicates": list(predicates),
                    "quotes": [{"anchor": anchor, "text": quote} for anchor, quote in quotes],
                }
            )

        failure, service = origin["anchor"], origin.get("service")
        span = self.spans.get(origin.get("span_id"), {})
        if span.get("status") == "ERROR":
            claim(f"{service} failed", [span["anchor"]], [f"status({span['anchor']}) = ERROR"])
        if kind := origin.get("exception_type"):
            claim(f"{service} failed", [failure], [f"exception_type({failure}) = {json.dumps(kind)}"])
        if message := (origin.get("message") or "").split("\n")[0].strip():
            claim(f"{service} failed", [failure], quotes=[(failure, message)])
        for frame in frames(origin)[:3]:
            place = f"{pathlib.PurePath(frame['file']).name}:{frame['line']}"
            claim(f"{service} failed at {place}", [failure, frame["anchor"]], [f"frame({failure}, {frame['anchor']})"])
        for flag in self.evidence["flags"]:
            value = flag.get("variant") or flag.get("value")
            if flag.get("kind") == "flag" and flag.get("service") == service and value:
                key = flag["key"]
                claim(f"{key} was {value} in {service}", [flag["anchor"]], [f"flag({json.dumps(key)}) = {json.dumps(value)}"])
                # A predicate is about the key wherever it holds; a quote is about this service.
                claim(f"{key} was {value} in {service}", [flag["anchor"]], quotes=[(flag["anchor"], value)])
        for build in self.evidence["builds"]:
            if build.get("service") == service and (version := build.get("version")):
                claim(f"{service} ran {version}", [build["anchor"]], [f"version({json.dumps(service)}) = {json.dumps(version)}"])
        for heap in self.evidence["heaps"]:
            for site in [site for site in heap.get("top_sites", []) if all(site.get(name) for name in ("anchor", "function", "bytes"))][:1]:
                predicate = f"heap_bytes({heap['anchor']}, {json.dumps(site['function'])}) >= {site['bytes']}B"
                for anchors in ([heap["anchor"], site["anchor"]], [heap["anchor"]]):
                    claim(f"{site['function']} holds {site['bytes']} B of the heap of {heap.get('service')}", anchors, [predicate])
        if span := self.slow(origin):
            seconds = int(span["duration_ns"]) / 1e9
            claim(f"{span['service']} took {seconds:.1f} s", [span["anchor"]], [f"duration({span['anchor']}) >= {int(seconds * 1000)}ms"])
            for log in self.evidence["logs"]:
                if log.get("span_id") == span["span_id"] and isinstance(log.get("body"), str):
                    claim(f"{span['service']} logged it", [log["anchor"]], quotes=[(log["anchor"], log["body"])])
        return claims

    def verified(self, claims: list[dict]) -> dict:
        """The claims that hold, as a document."""
        document = {"schema": "tracerag.claims/1", "bundle_id": self.task["bundle_id"], "claims": claims}
        report = self.call("verify_citations", bundle_id=self.task["bundle_id"], claims=document, max_tokens=25000)
        held = {claim["id"] for claim in report["data"].get("claims", []) if claim["accepted"]}
        document["claims"] = [claim for claim in claims if claim["id"] in held]
        return document

    def test(self, origin: dict) -> str | None:
        """A diff that adds a test from the evidence, in the language of what failed, else in another of the repository."""
        found = [LANGUAGES.get(pathlib.PurePath(path).suffix) for path in self.files(origin)]
        tracked = [LANGUAGES.get(pathlib.PurePath(path).suffix) for path in git(self.repository, "ls-files").splitlines()]
        for language in dict.fromkeys(language for language in found + tracked if language):
            try:
                test = self.call("scaffold_test", lang=language)
            except Refused:
                continue
            return added(f"{self.folder_of_tests(language)}{test['name']}", test["text"])
        return None

    def folder_of_tests(self, language: str) -> str:
        """Where the tools of the language look for tests."""
        paths = git(self.repository, "ls-files").splitlines()
        if language == "go":
            modules = [path for path in paths if pathlib.PurePath(path).name == "go.mod"]
            return f"{modules[0].removesuffix('go.mod')}scaffold/" if modules else "scaffold/"
        for path in paths:
            if re.search(r"(^|/)test_[^/]*\.py$|\.test\.m?js$|Test\.java$", path):
                return path[: path.rfind("/") + 1]
        return ""

    def files(self, origin: dict) -> list[str]:
        """The files of the repository that the stack names."""
        paths = set(git(self.repository, "ls-files").splitlines())
        return list(dict.fromkeys(frame["file"] for frame in frames(origin) if frame["file"] in paths))

    def patch(self, origin: dict) -> str | None:
        """What the files on the stack were in the build before, if the failure came with this one."""
        service, fingerprint = origin.get("service"), origin.get("fingerprint")
        build = next((build for build in self.evidence["builds"] if build.get("service") == service), {})
        version, commit = build.get("version"), build.get("git_sha")
        files = self.files(origin)
        if not (version and commit and fingerprint and files):
            return None
        of = quoted(fingerprint)
        others = self.rows(f"select count(*) from failures where fingerprint = {of} and service_version <> {quoted(version)}")
        if not others or int(others[0][0]) > 0:
            return None
        builds = self.rows(
            f"select git_sha from builds where service_name = {quoted(service)} and git_sha is not null order by valid_from, git_sha"
        )
        commits = list(dict.fromkeys(row[0] for row in builds))
        before = commits[: commits.index(commit)] if commit in commits else []
        if not before:
            return None
        return git(self.repository, "diff", "--no-color", "--no-ext-diff", commit, before[-1], "--", *files) or None


def frames(failure: dict) -> list[dict]:
    """The frames of the application that are known to the line."""
    known = failure.get("frames") or []
    return [frame for frame in known if frame.get("in_app") is not False and frame.get("anchor") and frame.get("file")]


def quoted(text: str) -> str:
    """A text of SQL."""
    return "'" + text.replace("'", "''") + "'"


def git(repository: pathlib.Path, *arguments: str) -> str:
    """What git prints; nothing where it refuses."""
    ran = subprocess.run(["git", "-C", repository, *arguments], capture_output=True, text=True, check=False)
    return ran.stdout if ran.returncode == 0 else ""


def added(path: str, text: str) -> str:
    """A diff that adds a file."""
    lines = text.splitlines()
    head = f"diff --git a/{path} b/{path}\nnew file mode 100644\n--- /dev/null\n+++ b/{path}\n@@ -0,0 +1,{len(lines)} @@\n"
    return head + "".join(f"+{line}\n" for line in lines)


def say(message: dict) -> None:
    """One message."""
    print(json.dumps(message), flush=True)


def main() -> None:
    agent = Agent(json.loads(sys.stdin.readline()))
    try:
        final = agent.work()
    except Refused as refusal:
        print(f"a tool did not answer: {refusal}", file=sys.stderr)
        final = {}
    # Nothing was paid, and nobody helped.
    say({"type": "final", "usage": {"tokens": 0, "cost_usd": 0, "interventions": 0}} | final)


if __name__ == "__main__":
    main()
