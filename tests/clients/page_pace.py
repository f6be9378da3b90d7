"""How long steps through a large trace keep the page busy, beside steps of an empty page: machines have other work."""

import statistics

from playwright.sync_api import BrowserContext, Page

# How long the usual step may keep the page busy, in ms; how often all steps are tried, and how long after the last time.
MOST_MS, TRIES, PAUSE_MS = 100, 10, 3_000
# Elements that a step of the empty page draws, about as many as the rows in view have, and how long that takes at most on
# a machine that has nothing else to do: three frames. Where it takes so many times as long, a step of the trace may, too.
BARE_ELEMENTS, BARE_MS = 400, 50
# The rows of the trace are scrolled to a part of it, or filtered by a text.
CHANGES = {
    "scrolled": [{"top": step / 60} for step in range(61)],
    "filtered": [{"text": text} for text in ["ledger", "ledger write", "step 43", "4321", ""]],
}

# How long a step keeps the page busy, and how many rows are in the document then.
STEP = """async (change) => {
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  const grid = document.querySelector('.waterfall');
  const filter = document.querySelector('#filter');
  await frame();
  let busy = 0;
  const begun = performance.now();
  if (change.top !== undefined) grid.scrollTop = change.top * grid.scrollHeight;
  else {
    filter.value = change.text;
    filter.dispatchEvent(new Event('input', { bubbles: true }));
    const found = document.querySelector('.toolbar [role=status]');
    const before = found.textContent;
    // What is typed is looked at a moment later; that moment is no work.
    const waited = performance.now();
    while (found.textContent === before && performance.now() - waited < 60000) await frame();
    busy -= 60;
  }
  await frame();
  await frame();
  busy += performance.now() - begun;
  return [Math.max(0, busy), document.querySelectorAll('.waterfall .span').length];
}"""
# The same of the empty page.
BARE_STEP = """async (count) => {
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  await frame();
  const begun = performance.now();
  document.body.replaceChildren(...Array.from({ length: count }, (_, place) => {
    const element = document.createElement('div');
    element.textContent = `${begun} step ${place}`;
    return element;
  }));
  await frame();
  await frame();
  return performance.now() - begun;
}"""


def steps_are_quick(context: BrowserContext, page: Page, most_rows: int) -> None:
    """Scrolls and filters until the median of each is as short as it has to be, and tells how long they took."""
    # A page behind another one of its context has a frame a second.
    beside = context.browser.new_context(viewport=page.viewport_size)
    empty = beside.new_page()
    quick, told = set(), []
    for attempt in range(TRIES):
        if attempt:
            page.wait_for_timeout(PAUSE_MS)
        for name, steps in CHANGES.items():
            bare, done = [], []
            for step in steps:
                bare.append(empty.evaluate(BARE_STEP, BARE_ELEMENTS))
                done.append(page.evaluate(STEP, step))
            for _, drawn in done:
                assert 0 < drawn <= most_rows, drawn
            times = sorted(busy for busy, _ in done)
            median, of_empty = statistics.median(times), statistics.median(bare)
            told.append(
                f"{name}: {len(times)} steps, median {median:.0f} ms, longest {times[-1]:.0f} ms; "
                f"of an empty page, median {of_empty:.0f} ms"
            )
            print(told[-1])
            if median <= MOST_MS * max(1, of_empty / BARE_MS):
                quick.add(name)
        if quick == set(CHANGES):
            break
    beside.close()
    assert quick == set(CHANGES), told
