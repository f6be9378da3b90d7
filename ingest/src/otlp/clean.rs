//! Texts that were found clean a moment ago.
//!
//! Telemetry says the same few words again and again: methods, routes, hosts, names of spans. A text that
//! is valid and has nothing to mask is kept in a small table, and met again it is compared, not searched.

/// Longest text that is kept, in bytes.
const LONGEST: usize = 47;

#[derive(Clone, Copy)]
struct Slot {
    length: u8,
    text: [u8; LONGEST],
}

/// `N` places, each for the last text that fell there; `N` is a power of two.
pub(super) struct CleanTexts<const N: usize>([Slot; N]);

impl<const N: usize> Default for CleanTexts<N> {
    fn default() -> Self {
        // The empty text is clean.
        Self([Slot { length: 0, text: [0; LONGEST] }; N])
    }
}

impl<const N: usize> CleanTexts<N> {
    #[inline]
    fn place(text: &[u8]) -> usize {
        let end = text.last().map_or(0, |byte| usize::from(*byte));
        let middle = usize::from(text.get(text.len() / 2).copied().unwrap_or_default());
        (text.len() ^ end ^ (middle << 1)) % N
    }

    /// Whether a text is known to be clean. `false` says nothing.
    #[inline]
    pub(super) fn has(&self, text: &[u8]) -> bool {
        let slot = &self.0[Self::place(text)];
        slot.text.get(..usize::from(slot.length)) == Some(text)
    }

    /// Keeps a text that is UTF-8 and was left as it is.
    #[inline]
    pub(super) fn keep(&mut self, text: &[u8]) {
        if let Some(room) = self.0[Self::place(text)].text.get_mut(..text.len()) {
            room.copy_from_slice(text);
            self.0[Self::place(text)].length = text.len() as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only what was kept is known, whatever falls into the same place; long texts are never kept.
    #[test]
    fn only_what_was_kept_is_known() {
        let mut texts = CleanTexts::<4>::default();
        assert!(texts.has(b"") && !texts.has(b"GET"));
        let many: Vec<String> = (0..64).map(|number| format!("/orders/{number}")).collect();
        for text in &many {
            texts.keep(text.as_bytes());
            assert!(texts.has(text.as_bytes()));
        }
        assert!(many.iter().filter(|text| texts.has(text.as_bytes())).count() <= 4);
        assert!(!texts.has(b"/orders/6"));
        texts.keep(&[b'x'; LONGEST + 1]);
        assert!(!texts.has(&[b'x'; LONGEST + 1]));
    }
}
