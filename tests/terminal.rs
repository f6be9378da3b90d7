//! The prompt of `tracerag sql` on a terminal.

use crate::support::clients::Clients;
use crate::worked_example;

/// A Python program types into a pseudo terminal what somebody would: see `tests/clients/terminal.py`. Guarantees that a
/// statement may have several lines, that arrows bring back what was asked, in the next session, too, that Tab completes
/// tables and columns, that Ctrl-C gives a line up, and that Ctrl-D and `\q` leave.
#[test]
fn somebody_types_at_the_prompt() {
    let Some(clients) = Clients::find() else { return };
    let tracerag = worked_example::replayed();
    let states = tracerag.path("states");
    let ran =
        clients.python("terminal.py", &[env!("CARGO_BIN_EXE_tracerag"), tracerag.lake(), states.to_str().unwrap()]);
    assert_eq!((ran.status, ran.stdout.trim()), (0, "6"), "{}", ran.stderr);
}
