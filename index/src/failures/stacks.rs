//! Stack traces of one epoch, read. A fault fails many requests with the same stack, so each text is read once, and all
//! that tell of it share what it says.

use std::rc::Rc;

use rustc_hash::FxHashMap;

use super::FailureRules;
use super::frames::StackTrace;
use super::mask::clip;

/// Reads the stacks of an epoch.
pub(super) struct Stacks<'a> {
    rules: &'a FailureRules,
    /// By the text that a row tells.
    known: FxHashMap<&'a str, Rc<StackTrace>>,
}

impl<'a> Stacks<'a> {
    pub(super) fn by(rules: &'a FailureRules) -> Self {
        Self { rules, known: FxHashMap::default() }
    }

    /// Of a stack as a row tells it the text that is kept, which is no more than the rules allow, and what that says.
    pub(super) fn read(&mut self, told: &'a str) -> (&'a str, Rc<StackTrace>) {
        let text = clip(told, self.rules.max_stacktrace_bytes);
        let stack = self.known.entry(told).or_insert_with(|| {
            let mut stack = StackTrace::parse(text, &self.rules.in_app);
            stack.truncated |= !stack.is_empty() && text.len() < told.len();
            Rc::new(stack)
        });
        (text, Rc::clone(stack))
    }
}
