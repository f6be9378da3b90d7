//! The lines of the table.

/// What a figure should reach.
#[derive(Debug, Clone, Copy)]
pub(super) enum Aim {
    AtLeast(f64),
    AtMost(f64),
    /// It is only shown.
    None,
}

impl Aim {
    fn is_met(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(least) => figure >= least,
            Self::AtMost(most) => figure <= most,
            Self::None => true,
        }
    }
}

/// Prints the names of the columns.
pub(super) fn head() {
    println!("{:<66} {:>10} {:>10} {:>10}", "", "figure", "floor", "aim");
}

/// Prints one figure. `floor` is what a plain method gives on the same split.
pub(super) fn row(what: &str, figure: f64, floor: Option<f64>, aim: Aim) {
    let floor = floor.map_or_else(String::new, number);
    let (wanted, verdict) = match aim {
        Aim::AtLeast(least) => (format!(">= {}", number(least)), verdict(aim, figure)),
        Aim::AtMost(most) => (format!("<= {}", number(most)), verdict(aim, figure)),
        Aim::None => (String::new(), ""),
    };
    println!("{what:<66} {:>10} {floor:>10} {wanted:>10} {verdict}", number(figure));
}

/// Prints something about the figures above.
pub(super) fn note(what: &str) {
    println!("  {what}");
}

fn verdict(aim: Aim, figure: f64) -> &'static str {
    if aim.is_met(figure) { "" } else { "misses" }
}

fn number(number: f64) -> String {
    if number >= 1_000.0 { format!("{number:.0}") } else { format!("{number:.3}") }
}

/// A part of a whole; of nothing, nothing is known.
pub(super) fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { f64::NAN } else { part as f64 / whole as f64 }
}
