//! Counts what an answer has given out, against the limits of rows and bytes.

use crate::access::Limits;
use crate::error::{QueryError, Result};

/// What an answer may still give.
#[derive(Debug, Clone)]
pub(super) struct Meter {
    rows_left: u64,
    bytes_left: u64,
    /// The limits, for the errors.
    rows: u64,
    bytes: u64,
}

impl Meter {
    /// All that the limits allow.
    pub(super) fn new(limits: &Limits) -> Self {
        Self { rows_left: limits.rows, bytes_left: limits.bytes, rows: limits.rows, bytes: limits.bytes }
    }

    /// Gives out rows.
    ///
    /// # Errors
    /// [`QueryError::RowLimit`] if these are too many.
    pub(super) fn rows(&mut self, rows: usize) -> Result<()> {
        self.rows_left = self.rows_left.checked_sub(rows as u64).ok_or(QueryError::RowLimit { rows: self.rows })?;
        Ok(())
    }

    /// Gives out bytes.
    ///
    /// # Errors
    /// [`QueryError::ByteLimit`] if these are too many.
    pub(super) fn bytes(&mut self, bytes: usize) -> Result<()> {
        self.bytes_left =
            self.bytes_left.checked_sub(bytes as u64).ok_or(QueryError::ByteLimit { bytes: self.bytes })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As much as the limits say is given, in any pieces, and nothing beyond.
    #[test]
    fn limits_hold_over_pieces() {
        let mut meter = Meter::new(&Limits { rows: 3, bytes: 10, ..Limits::default() });
        assert!(meter.rows(1).is_ok() && meter.rows(2).is_ok() && meter.bytes(10).is_ok());
        assert!(matches!(meter.rows(1), Err(QueryError::RowLimit { rows: 3 })));
        assert!(matches!(meter.bytes(1), Err(QueryError::ByteLimit { bytes: 10 })));
    }
}
