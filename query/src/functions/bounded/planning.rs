//! Functions of constants run while a statement is planned, and what they make is kept in the plan: there it costs more
//! than in a batch, and is written out for every row of every batch later. Longer constants are left to be computed when
//! it is known for how many rows.

use std::cell::Cell;

tokio::task_local! {
    /// Bytes that constants of the statement that is planned may still have.
    static LEFT: Cell<u64>;
}

/// Plans, with constants of so many bytes together at most.
pub(crate) async fn planning<T>(most: usize, plan: impl Future<Output = T>) -> T {
    LEFT.scope(Cell::new(most as u64), plan).await
}

/// Whether a statement is being planned.
pub(super) fn is_planning() -> bool {
    LEFT.try_with(|_| ()).is_ok()
}

/// Takes bytes for a constant; whether there were as many.
pub(super) fn take(bytes: u64) -> bool {
    let taken = LEFT.try_with(|left| left.get().checked_sub(bytes).map(|rest| left.set(rest)).is_some());
    taken.unwrap_or(true)
}
