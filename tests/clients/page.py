"""The page in a browser: python page.py URL TOKEN LARGE_TRACE TRACE_WITH_RECORDS_APART [FOLDER].

Chromium, without a window, opens every view of a server on the demo's lake by keyboard and by mouse, and a trace of
thousands of spans. It asks no other host, shows the token in no address, takes no text of telemetry for markup, keeps few
rows in the document however long the trace, and axe-core finds nothing to mend in light and dark, on a narrow screen, where
a token is asked for and where something went wrong. With FOLDER each view is painted into a file there. It prints how long
the steps of the large trace took, which page_pace.py measures.
"""

import json
import re
import shutil
import sys
from pathlib import Path
from urllib.parse import quote

import requests
from page_pace import steps_are_quick
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

SIZE = {"width": 1360, "height": 860}
NARROW = {"width": 390, "height": 844}
# Rows of the waterfall in the document: those in view and some on each side.
MOST_ROWS = 120
# How long anything is waited for, in ms: the machine may have other work.
PATIENCE = 120_000
# What is loaded into a page to look for what keeps people out.
AXE = Path(sys.prefix).parent / "node_modules/axe-core/axe.min.js"
# What a browser itself says of an answer that is no success; the page tells it in its own words.
EXPECTED = "Failed to load resource"


class Server:
    """What the tests know of the lake, from the interface that the page asks, too."""

    def __init__(self, url: str, token: str):
        self.url, self.token = url, token
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {token}"
        incidents = self.get("/v1/incidents?limit=1000")["incidents"]
        self.incidents = len(incidents)
        self.incident = next(one for one in incidents if "OverflowError" in one["title"])
        heaps = self.sql(
            "select h.trace_id from heaps h join failures f on f.trace_id = h.trace_id "
            f"where f.fingerprint = '{self.incident['fingerprint']}' order by 1 limit 1"
        )
        self.trace = heaps[0]["trace_id"]

    def get(self, path: str) -> dict:
        answer = self.session.get(self.url + path, timeout=120)
        answer.raise_for_status()
        return answer.json()

    def sql(self, query: str) -> list:
        answer = self.session.post(f"{self.url}/v1/sql", json={"query": query}, timeout=120)
        answer.raise_for_status()
        return answer.json()


class Watch:
    """What a page must never do, whatever is done with it."""

    def __init__(self, page: Page, server: Server):
        self.faults = []
        page.on("request", lambda request: self.request(request.url, server))
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("console", lambda told: self.console(told.type, told.text))

    def request(self, url: str, server: Server) -> None:
        if not url.startswith((f"{server.url}/", f"blob:{server.url}/")):
            self.faults.append(f"asked another host: {url}")
        if server.token in url:
            self.faults.append("the token stands in an address")

    def console(self, kind: str, text: str) -> None:
        if kind in ("error", "warning") and EXPECTED not in text:
            self.faults.append(f"{kind}: {text}")

    def end(self) -> None:
        assert self.faults == [], self.faults


def patient(browser: Browser, **more) -> BrowserContext:
    """A context whose pages are waited for."""
    context = browser.new_context(**more)
    context.set_default_timeout(PATIENCE)
    return context


def opened(context: BrowserContext, server: Server, path: str = "/") -> tuple[Page, Watch]:
    """A page that was let in by the token."""
    page = context.new_page()
    watch = Watch(page, server)
    page.goto(server.url + path)
    field = page.get_by_label("Token", exact=True)
    field.fill(server.token)
    field.press("Enter")
    settled(page)
    return page, watch


def settled(page: Page) -> None:
    """Waits until the view is complete: what it asked for is there."""
    expect(page.locator("main[aria-busy=false]")).to_be_attached()
    page.wait_for_load_state("networkidle")


def at(page: Page, server: Server, path: str) -> None:
    page.wait_for_url(server.url + path)
    settled(page)


def a_token_is_asked_for(context: BrowserContext, server: Server) -> None:
    page = context.new_page()
    watch = Watch(page, server)
    page.goto(server.url)
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("tracerag token create")
    field = page.get_by_label("Token", exact=True)
    field.fill("a-token-that-nobody-made")
    field.press("Enter")
    expect(dialog).to_contain_text("token")
    expect(page.get_by_label("Token", exact=True)).to_have_value("")
    page.get_by_label("Token", exact=True).fill(server.token)
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("heading", name="Incidents")).to_be_visible()
    # Another tab has to be told anew: the token is kept for one.
    assert page.evaluate("Object.keys(localStorage).every((name) => !name.includes('token'))")
    watch.end()
    page.close()


def by_keyboard(context: BrowserContext, server: Server) -> None:
    """Every view without a mouse."""
    page, watch = opened(context, server)
    keys = page.keyboard
    expect(page.locator(".incidents tbody tr")).to_have_count(server.incidents)
    keys.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Filter what is shown")
    keys.press("Escape")
    keys.press("/")
    keys.type("overflowerror payments")
    expect(page.locator(".incidents tbody tr")).to_have_count(1)
    # The first letters may leave one row, too; what is typed then is looked at a moment later, and draws the rows anew.
    page.wait_for_url(re.compile(r"[?&]q=overflowerror\+payments$"))
    keys.press("Escape")
    keys.press("j")
    keys.press("Enter")
    at(page, server, f"/incidents/{server.incident['fingerprint']}")
    expect(page.locator(".failing tbody tr")).not_to_have_count(0)
    expect(page.get_by_text("Round to the scale of the ledger")).to_be_visible()
    keys.press("j")
    keys.press("Enter")
    page.wait_for_url("**/traces/*")
    settled(page)
    chosen = page.locator('.span[aria-selected="true"]')
    expect(chosen).to_contain_text("payments")
    expect(page.locator(".side")).to_contain_text("failed here")
    keys.press("k")
    keys.press("ArrowLeft")
    keys.press("ArrowRight")
    keys.press("n")
    expect(chosen).to_have_class(re.compile(r"\bfailing\b"))
    keys.press("f")
    expect(page.locator(".span:not(.failing)")).to_have_count(0)
    keys.press("f")
    keys.press("b")
    page.wait_for_url("**/bundles/*")
    settled(page)
    expect(page.get_by_role("heading", name="Evidence bundle")).to_be_visible()
    keys.press("j")
    keys.press("Enter")
    page.wait_for_url(re.compile("#failure:"))
    keys.press("g")
    keys.press("s")
    at(page, server, "/sql")
    keys.press("i")
    keys.press("Control+a")
    keys.type("select service_name, count(*) as failures from failures group by 1 order by 2 desc, 1")
    keys.press("Control+Enter")
    rows = server.sql("select count(distinct service_name) as n from failures")[0]["n"]
    expect(page.locator(".result tbody tr")).to_have_count(rows)
    expect(page.locator("svg.chart rect")).to_have_count(rows)
    expect(page.locator(".history").first).to_contain_text("select service_name")
    keys.press("Escape")
    keys.press("t")
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    keys.press("t")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    keys.press("t")
    keys.press("g")
    keys.press("i")
    at(page, server, "/")
    keys.press("o")
    keys.type(server.trace)
    keys.press("Enter")
    at(page, server, f"/traces/{server.trace}")
    watch.end()
    page.close()


def by_mouse(context: BrowserContext, server: Server) -> None:
    """Every view without a keyboard, and back."""
    page, watch = opened(context, server)
    page.get_by_label("Service").select_option("payments")
    page.get_by_role("button", name="Failures").click()
    numbers = [int(text) for text in page.locator(".incidents tbody tr td:nth-child(3)").all_inner_texts()]
    assert numbers == sorted(numbers, reverse=True) and len(numbers) > 1, numbers
    page.get_by_label("Known fix", exact=True).select_option("known")
    page.locator(".incidents a.title").first.click()
    at(page, server, f"/incidents/{server.incident['fingerprint']}")
    page.locator(f'.failing a[href$="{server.trace}"]').click()
    at(page, server, f"/traces/{server.trace}")
    what_stands_in_the_trace(page, server)
    page.get_by_role("link", name="Evidence bundle").click()
    at(page, server, f"/bundles/{server.trace}")
    page.locator(".contents").get_by_role("link", name="Flags").click()
    anchor = page.locator('.fact[id="flag:payments.decimal_mode@payments"] .anchor')
    anchor.click()
    page.wait_for_url(re.compile(r"#flag:payments\.decimal_mode@payments$"))
    page.get_by_role("link", name="SQL").click()
    at(page, server, "/sql")
    page.get_by_role("button", name="Failures over time").click()
    page.get_by_role("button", name="Run").click()
    expect(page.locator("svg.chart path")).not_to_have_count(0)
    page.get_by_label("As", exact=True).select_option("bar")
    expect(page.locator("svg.chart rect")).not_to_have_count(0)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    assert Path(download.value.path()).read_text().startswith("time,service_name,failures\n")
    page.locator("textarea").fill("drop table spans")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("alert")).to_contain_text("read-only")
    page.go_back()
    page.wait_for_url("**/bundles/*")
    page.get_by_role("button", name="Keys").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.get_by_role("button", name="Close").click()
    watch.end()
    page.close()


def what_stands_in_the_trace(page: Page, server: Server) -> None:
    """Logs, flags, builds, heap and payload are at their spans, and the failing path is marked."""
    told = server.get(f"/v1/bundles/{server.trace}")["evidence"]
    expect(page.locator(".span")).to_have_count(len(told["spans"]))
    parents = {one["span_id"]: one["parent_span_id"] for one in told["spans"]}
    path = set()
    for failure in told["failures"]:
        span = failure["span_id"]
        while span in parents:
            path.add(span)
            span = parents[span]
    assert 0 < len(path) < len(parents), path
    expect(page.locator(".span.failing")).to_have_count(len(path))
    spans = lambda kind: {one["span_id"] for one in told[kind]} & parents.keys()  # noqa: E731
    for kind in ["logs", "flags", "payloads", "heaps", "failures"]:
        expect(page.locator(f".badge.{kind}")).to_have_count(len(spans(kind)))
    heap = next(iter(spans("heaps")))
    order = [one["span_id"] for one in server.get(f"/v1/traces/{server.trace}")["spans"]]
    page.locator(f"#row-{order.index(heap)}").click()
    side = page.locator(".side")
    for anchor in ["heap:0", "flag:payments.decimal_mode@payments", "build:payments@", f"span:{heap}"]:
        expect(side).to_contain_text(anchor)


def anchors(value) -> list:
    """All anchors of a bundle, however deep."""
    if isinstance(value, list):
        return [one for item in value for one in anchors(item)]
    if not isinstance(value, dict):
        return []
    own = [value["anchor"]] if isinstance(value.get("anchor"), str) else []
    return own + [one for item in value.values() for one in anchors(item)]


# Whether the fact of an anchor is the one that is marked, and in view.
ARRIVED = """([base, height]) => {
  const all = [...document.querySelectorAll('.arrived')];
  const top = all[0]?.getBoundingClientRect().top;
  return all.length === 1 && [all[0].id, all[0].dataset.anchor].some((one) => one?.startsWith(base)) && top >= -1 && top < height;
}"""


def what_has_no_span(context: BrowserContext, server: Server, trace: str) -> None:
    """Records that were joined by the trace or by time stand at the trace, with how; and who was too slow is marked."""
    page, watch = opened(context, server, f"/traces/{trace}")
    told = server.get(f"/v1/bundles/{trace}")["evidence"]
    known = {one["span_id"] for one in told["spans"]}
    apart = [one for one in told["logs"] if one["span_id"] not in known]
    assert sorted(one["joined_by"] for one in apart) == ["time", "trace"], told["logs"]
    strip = page.locator(".strip", has=page.get_by_role("heading", name="Logs"))
    expect(strip.locator("li")).to_have_count(len(apart))
    for one in apart:
        shown = strip.locator("li").filter(has_text=one["body"])
        expect(shown).to_contain_text({"trace": "by trace", "time": "by instance and time"}[one["joined_by"]])
        expect(shown.locator(".anchor")).to_have_text(one["anchor"])
    slow = server.get(f"/v1/traces/{trace}")["slow_span_ids"]
    assert slow == [f"{3:016x}"], slow
    expect(page.locator(".span.slow")).to_have_count(1)
    expect(page.locator(".span.slow")).to_contain_text("archive")
    expect(page.locator(".span.slow.failing")).to_have_count(1)
    # It is what is looked at first.
    expect(page.locator(".side")).to_contain_text("too slow for its caller")
    watch.end()
    page.close()


def how_incidents_stand(context: BrowserContext, server: Server) -> None:
    """What an incident came with, whether its fix holds, and a fix that was recorded before its incident was merged."""
    page, watch = opened(context, server)
    merged = page.locator(".incidents tbody tr").filter(has_text="BillingClosed")
    expect(merged.locator("td").last).to_have_text("fixed")
    expect(page.locator(".incidents tbody tr").filter(has_text="BillingLocked")).to_have_count(0)
    page.get_by_label("Known fix", exact=True).select_option("known")
    expect(merged).to_have_count(1)
    address = f"/v1/incidents/{server.incident['fingerprint']}?appeared_with=true"
    incident = server.get(address)["incident"]
    asked = []
    page.on("request", lambda request: asked.append(request.post_data_json) if request.url.endswith("/v1/similar") else None)
    page.goto(f"{server.url}/incidents/{server.incident['fingerprint']}")
    settled(page)
    changes = page.locator(".appeared li")
    expect(changes).to_have_count(len(incident["appeared_with"]))
    assert incident["appeared_with"], "the demo has a flag and a build that changed before this incident"
    for number, change in enumerate(incident["appeared_with"]):
        expect(changes.nth(number)).to_contain_text(change["key"])
        expect(changes.nth(number)).to_contain_text(change["value"] or "was deleted")
    assert incident["fixed_at"] and incident["regressed_at"] is None, incident
    expect(page.locator(".facts div").filter(has_text="Fix").first).to_contain_text("holds")
    # What is like it is asked for by an example, which says more than a title.
    assert [sorted(one) for one in asked] == [["k", "trace_id"]], asked
    # An incident that came back says since when and in which version; a trend that is not told is no line of zeros.
    back = {**incident, "regressed_at": incident["last_seen"], "regressed_version": "9.9.9"}

    def came_back(route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json={**answer.json(), "incident": back})

    def no_trends(route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json={**answer.json(), "trends": [], "has_more": True})

    page.route("**/v1/incidents/*", came_back)
    page.route("**/v1/trends?*", no_trends)
    page.reload()
    settled(page)
    expect(page.locator(".facts div").filter(has_text="Fix").first).to_contain_text("9.9.9")
    page.goto(server.url)
    settled(page)
    expect(page.locator(".incidents td.trend").first).to_have_text("unknown")
    expect(page.locator(".incidents td.trend svg")).to_have_count(0)
    watch.end()
    page.close()


def every_anchor_is_linked(context: BrowserContext, server: Server) -> None:
    """The address of a bundle with an anchor behind `#` shows that fact, for each anchor that the bundle has."""
    page, watch = opened(context, server, f"/bundles/{server.trace}")
    bundle = server.get(f"/v1/bundles/{server.trace}")
    known = sorted(set(anchors(bundle["evidence"]) + anchors(bundle["context"])))
    assert {one.partition(":")[0] for one in known} >= {"span", "log", "failure", "flag", "build", "heap", "payload", "code"}
    payload = next(one for one in known if one.startswith("payload:"))
    for anchor in [*known, f"{payload}/amount", "build:payments", "flag:payments.decimal_mode"]:
        page.evaluate("(hash) => (location.hash = hash)", f"#{quote(anchor, safe=':@/')}")
        # A place within a payload's field is shown by the field or by its payload, a short form by the first that it names.
        base = anchor.removesuffix("/amount")
        page.wait_for_function(ARRIVED, arg=[base, SIZE["height"]])
    watch.end()
    page.close()


def a_large_trace_is_quick(context: BrowserContext, server: Server, trace: str) -> None:
    """Scrolls through the spans and filters them, and tells how long each step kept the page busy."""
    page, watch = opened(context, server, f"/traces/{trace}")
    expect(page.locator(".side")).to_contain_text("failed here")
    # A text of telemetry stays one, whatever it looks like.
    expect(page.locator(".side")).to_contain_text("<img src=/nowhere onerror=alert(1)>")
    assert page.locator("main img").count() == 0
    steps_are_quick(context, page, MOST_ROWS)
    page.keyboard.press("n")
    page.locator(".waterfall").press("End")
    page.locator(".waterfall").press("Home")
    assert page.locator(".waterfall .span").count() <= MOST_ROWS
    page.get_by_role("link", name="Evidence bundle").click()
    settled(page)
    last = server.get(f"/v1/bundles/{trace}")["evidence"]["spans"][-1]["anchor"]
    page.evaluate("(hash) => (location.hash = hash)", f"#{last}")
    expect(page.locator(".arrived")).to_have_attribute("id", last)
    watch.end()
    page.close()


def views(server: Server) -> dict:
    return {
        "incidents": "/",
        "incident": f"/incidents/{server.incident['fingerprint']}",
        "trace": f"/traces/{server.trace}",
        "bundle": f"/bundles/{server.trace}",
        "sql": "/sql",
    }


def looks(browser, server: Server, folder: Path | None) -> None:
    """Each view in light and dark: for axe-core, which looks for what keeps people out, and as a picture."""
    axe = AXE.read_text()
    for scheme in ["light", "dark"]:
        context = patient(browser, viewport=SIZE, color_scheme=scheme)
        what_goes_wrong(context, server, axe, scheme)
        page, watch = opened(context, server)
        for name, path in views(server).items():
            page.goto(server.url + path)
            settled(page)
            if name == "sql":
                page.get_by_role("button", name="Failures over time").click()
                page.get_by_role("button", name="Run").click()
                expect(page.locator("svg.chart path")).not_to_have_count(0)
            if folder:
                folder.mkdir(parents=True, exist_ok=True)
                page.screenshot(path=folder / f"{name}-{scheme}.png", animations="disabled")
            accessible(page, axe, f"{name} in {scheme}")
        page.keyboard.press("Escape")
        page.keyboard.press("?")
        accessible(page, axe, f"the keys in {scheme}")
        watch.end()
        context.close()


def what_goes_wrong(context: BrowserContext, server: Server, axe: str, scheme: str) -> None:
    """The dialog for a token, as it comes first and after a wrong one, and views of what is not there or not allowed."""
    page = context.new_page()
    watch = Watch(page, server)
    page.goto(server.url)
    field = page.get_by_label("Token", exact=True)
    expect(field).to_be_visible()
    accessible(page, axe, f"the dialog for a token in {scheme}")
    field.fill("a-token-that-nobody-made")
    field.press("Enter")
    expect(page.get_by_label("Token", exact=True)).to_have_value("")
    accessible(page, axe, f"the dialog after a wrong token in {scheme}")
    page.get_by_label("Token", exact=True).fill(server.token)
    page.get_by_label("Token", exact=True).press("Enter")
    settled(page)
    for path in ["/incidents/none", f"/traces/{'0' * 31}1", "/bundles/none"]:
        page.goto(server.url + path)
        expect(page.get_by_role("alert")).to_be_visible()
        accessible(page, axe, f"{path} in {scheme}")
    page.goto(f"{server.url}/sql")
    settled(page)
    page.locator("textarea").fill("drop table spans")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("alert")).to_contain_text("read-only")
    accessible(page, axe, f"a statement that is refused in {scheme}")
    watch.end()
    page.close()


def accessible(page: Page, axe: str, where: str) -> None:
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']}).then((told) => told.violations)")
    told = [(one["id"], [node["html"][:200] for node in one["nodes"][:3]]) for one in found]
    assert told == [], f"{where}: {json.dumps(told, indent=1)}"


def fits_a_telephone(browser, server: Server) -> None:
    """No view is wider than a narrow screen; what is wide scrolls within itself."""
    context = patient(browser, viewport=NARROW)
    page, watch = opened(context, server)
    for path in views(server).values():
        page.goto(server.url + path)
        settled(page)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= NARROW["width"], (path, wide)
        accessible(page, AXE.read_text(), f"{path} on a narrow screen")
    watch.end()
    context.close()


def chromium() -> str:
    names = ["chromium", "chromium-browser", "google-chrome"]
    found = next((path for name in names if (path := shutil.which(name))), None)
    assert found, "no Chromium: install the package chromium"
    return found


def main(url: str, token: str, large: str, apart: str, folder: str = "") -> None:
    server = Server(url, token)
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        # Tests run as root in containers, where Chromium has no sandbox to itself.
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"], timeout=PATIENCE)
        for test in [a_token_is_asked_for, by_keyboard, by_mouse, how_incidents_stand, every_anchor_is_linked]:
            context = patient(browser, viewport=SIZE, accept_downloads=True)
            test(context, server)
            context.close()
        context = patient(browser, viewport=SIZE)
        what_has_no_span(context, server, apart)
        context.close()
        context = patient(browser, viewport=SIZE)
        a_large_trace_is_quick(context, server, large)
        context.close()
        fits_a_telephone(browser, server)
        looks(browser, server, Path(folder) if folder else None)
        browser.close()


main(*sys.argv[1:])
