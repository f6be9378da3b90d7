//! Printing: data to stdout, everything else to stderr. The only place that prints.

use std::io::{self, IsTerminal, Write};

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, ContentArrangement, Table};

use crate::error::Error;

/// Writes data to stdout. A reader that closes the pipe early is no error.
pub(crate) fn data(text: &str) -> Result<(), Error> {
    bytes(text.as_bytes())
}

/// Writes binary data to stdout; see [`data`].
pub(crate) fn bytes(bytes: &[u8]) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::io("write to stdout")(error)),
        _ => Ok(()),
    }
}

/// A line for people on stderr.
pub(crate) fn note(text: &str) {
    // Nothing sensible is left to do when stderr is gone.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// The error with which a command ends.
pub(crate) fn error(error: &Error) {
    note(&format!("error: {error}"));
}

/// Whether progress bars make sense.
pub(crate) fn is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// An aligned table; the columns named in `right` hold numbers.
pub(crate) fn table(header: &[&str], rows: Vec<Vec<String>>, right: &[usize]) -> String {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic).set_header(header);
    if !io::stdout().is_terminal() {
        table.set_width(160);
    }
    for row in rows {
        table.add_row(row);
    }
    for index in right {
        if let Some(column) = table.column_mut(*index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    format!("{table}\n")
}

/// 178156 as `178,156`.
pub(crate) fn thousands(number: impl Into<i128>) -> String {
    let number: i128 = number.into();
    let digits = number.unsigned_abs().to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    if number < 0 {
        text.push('-');
    }
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Digits group by three from the right, with the sign in front.
    #[test]
    fn thousands_group() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(-178_156), "-178,156");
        assert_eq!(thousands(1_000_000), "1,000,000");
    }
}
