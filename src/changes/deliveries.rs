//! Deliveries that come twice: platforms send again what they have no answer to.
//!
//! A server remembers the last ones for as long as it runs. What slips through is written twice with the same time, which
//! changes nothing that is in effect.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Deliveries that are remembered.
const REMEMBERED: usize = 10_000;

/// The deliveries of a server.
#[derive(Debug, Default)]
pub(super) struct Deliveries(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    under_way: HashSet<String>,
    done: HashSet<String>,
    /// Those that are done, oldest first.
    order: VecDeque<String>,
}

/// What is known of a delivery.
pub(super) enum Begun<'d> {
    /// Nothing: it is under way until this is dropped, and then not done unless that was said.
    New(UnderWay<'d>),
    /// It is under way.
    UnderWay,
    /// It is done.
    Done,
}

/// A delivery that is being written.
pub(super) struct UnderWay<'d> {
    deliveries: &'d Deliveries,
    id: String,
    is_done: bool,
}

impl Deliveries {
    /// Begins with a delivery.
    pub(super) fn begin(&self, id: String) -> Begun<'_> {
        let mut known = self.known();
        if known.done.contains(&id) {
            return Begun::Done;
        }
        if !known.under_way.insert(id.clone()) {
            return Begun::UnderWay;
        }
        Begun::New(UnderWay { deliveries: self, id, is_done: false })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnderWay<'_> {
    /// It is written.
    pub(super) fn done(mut self) {
        self.is_done = true;
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut known = self.deliveries.known();
        known.under_way.remove(&self.id);
        if !self.is_done {
            return;
        }
        let id = std::mem::take(&mut self.id);
        if known.done.insert(id.clone()) {
            known.order.push_back(id);
        }
        while known.order.len() > REMEMBERED {
            if let Some(oldest) = known.order.pop_front() {
                known.done.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A delivery is new until it is done, under way meanwhile, and new again after it failed. Guarantees that what was
    /// not written is never taken for written.
    #[test]
    fn only_what_is_done_is_done() {
        let deliveries = Deliveries::default();
        let first = deliveries.begin("a".to_owned());
        assert!(matches!(deliveries.begin("a".to_owned()), Begun::UnderWay));
        assert!(matches!(deliveries.begin("b".to_owned()), Begun::New(_)));
        drop(first);
        let Begun::New(again) = deliveries.begin("a".to_owned()) else { panic!("a failed delivery is new") };
        again.done();
        assert!(matches!(deliveries.begin("a".to_owned()), Begun::Done));
    }

    /// Of very many deliveries the last ones are remembered. Guarantees that the memory has a bound.
    #[test]
    fn the_oldest_are_forgotten() {
        let deliveries = Deliveries::default();
        for number in 0..=REMEMBERED {
            let Begun::New(one) = deliveries.begin(number.to_string()) else { panic!("{number} is new") };
            one.done();
        }
        assert!(matches!(deliveries.begin(REMEMBERED.to_string()), Begun::Done));
        assert!(matches!(deliveries.begin(0.to_string()), Begun::New(_)));
        assert_eq!(deliveries.known().order.len(), REMEMBERED);
    }
}
