//! `SET` and `SHOW`: settings that drivers and tools look at. What would change how values are written has one value
//! only, so a client that asks for another is told.

use std::collections::HashMap;
use std::time::Duration;

use datafusion::sql::sqlparser::ast::{ContextModifier, Expr, Set};

/// The version of PostgreSQL whose clients find what they expect.
pub(super) const VERSION: &str = "16.6";

/// A setting: its name as PostgreSQL shows it, and what it is until it is set.
const SETTINGS: &[(&str, &str)] = &[
    ("application_name", ""),
    ("bytea_output", "hex"),
    ("client_encoding", "UTF8"),
    ("client_min_messages", "notice"),
    ("DateStyle", "ISO, MDY"),
    ("default_table_access_method", "heap"),
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_read_only", "on"),
    ("enable_seqscan", "on"),
    ("escape_string_warning", "on"),
    ("extra_float_digits", "1"),
    ("idle_in_transaction_session_timeout", "0"),
    ("in_hot_standby", "off"),
    ("integer_datetimes", "on"),
    ("IntervalStyle", "postgres"),
    ("is_superuser", "off"),
    ("jit", "off"),
    ("lc_collate", "C"),
    ("lc_ctype", "C"),
    ("lc_messages", "C"),
    ("lc_monetary", "C"),
    ("lc_numeric", "C"),
    ("lc_time", "C"),
    ("lock_timeout", "0"),
    ("max_identifier_length", "63"),
    ("max_index_keys", "32"),
    ("row_security", "off"),
    ("search_path", "public"),
    ("server_encoding", "UTF8"),
    ("server_version", VERSION),
    ("server_version_num", "160006"),
    ("session_authorization", "tracerag"),
    ("standard_conforming_strings", "on"),
    ("statement_timeout", "0"),
    ("TimeZone", "UTC"),
    ("transaction_isolation", "read committed"),
    ("transaction_read_only", "on"),
];

/// Settings of which the client is told at the start, and whenever they change.
const REPORTED: &[&str] = &[
    "application_name",
    "client_encoding",
    "DateStyle",
    "default_transaction_read_only",
    "in_hot_standby",
    "integer_datetimes",
    "IntervalStyle",
    "is_superuser",
    "server_encoding",
    "server_version",
    "session_authorization",
    "standard_conforming_strings",
    "TimeZone",
];

/// Settings that say how values are written, and what their values begin with, in lower case.
const FIXED: &[(&str, &[&str])] = &[
    ("bytea_output", &["hex"]),
    ("client_encoding", &["utf8", "utf-8", "unicode"]),
    ("DateStyle", &["iso"]),
    ("default_transaction_read_only", &["on", "true", "1"]),
    ("IntervalStyle", &["postgres"]),
    ("is_superuser", &["off"]),
    ("server_encoding", &["utf8"]),
    ("server_version", &[VERSION]),
    ("standard_conforming_strings", &["on", "true", "1"]),
    ("transaction_read_only", &["on", "true", "1"]),
];

/// Bytes of a value: each savepoint keeps what was set.
const LONGEST: usize = 1_024;
/// Savepoints of a transaction that are kept. Some drivers set one of the same name before each statement and release
/// none, so of more the oldest goes that a newer one of its name hides, or else the oldest.
const SAVEPOINTS: usize = 128;

/// Settings that are times.
const TIMES: &[&str] = &["idle_in_transaction_session_timeout", "lock_timeout", "statement_timeout"];

/// Why settings are not what they were asked to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unset {
    /// There is none of this name.
    Unknown(String),
    /// It has another value only.
    Fixed {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: &'static str,
    },
    /// The value is longer than any that means something.
    TooLong {
        /// The setting.
        name: &'static str,
    },
    /// There is no savepoint of this name.
    NoSavepoint(String),
    /// There are savepoints in transactions only.
    NoTransaction,
    /// It is a time, and the value is none.
    NoTime {
        /// The setting.
        name: &'static str,
        /// The value.
        value: String,
    },
}

/// The settings of one connection.
#[derive(Debug, Default)]
pub(super) struct Settings {
    set: HashMap<&'static str, String>,
    /// What was set when the connection began.
    begun: HashMap<&'static str, String>,
    /// There within a transaction.
    transaction: Option<Transaction>,
}

/// What settings go back to when a transaction ends.
#[derive(Debug)]
struct Transaction {
    /// When it is rolled back: what was set before.
    before: HashMap<&'static str, String>,
    /// When it is committed: what is set without `SET LOCAL`.
    kept: HashMap<&'static str, String>,
    /// What to go back to within it, the newest last.
    savepoints: Vec<Savepoint>,
}

/// A moment of a transaction.
#[derive(Debug)]
struct Savepoint {
    name: String,
    /// What was set, and what of it without `SET LOCAL`.
    set: HashMap<&'static str, String>,
    kept: HashMap<&'static str, String>,
}

impl Transaction {
    /// The place of the newest savepoint of a name.
    fn place(&self, name: &str) -> Result<usize, Unset> {
        let place = self.savepoints.iter().rposition(|savepoint| savepoint.name == name);
        place.ok_or_else(|| Unset::NoSavepoint(name.to_owned()))
    }

    /// The place of the oldest savepoint that has a newer one of its name.
    fn oldest_hidden(&self) -> Option<usize> {
        let is_hidden = |(place, older): (usize, &Savepoint)| {
            self.savepoints.iter().skip(place + 1).any(|newer| newer.name == older.name)
        };
        self.savepoints.iter().enumerate().position(is_hidden)
    }
}

impl Settings {
    /// A setting's name as it is written, and its value.
    pub(super) fn show(&self, name: &str) -> Option<(&'static str, String)> {
        let (name, default) = known(name)?;
        Some((name, self.set.get(name).cloned().unwrap_or_else(|| default.to_owned())))
    }

    /// Every setting.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'static str, String)> {
        SETTINGS.iter().filter_map(|(name, _)| self.show(name))
    }

    /// Those of which a client is told at the start.
    pub(super) fn reported(&self) -> impl Iterator<Item = (&'static str, String)> {
        self.all().filter(|(name, _)| REPORTED.contains(name))
    }

    /// What is set now is what [`Settings::reset`] brings back.
    pub(super) fn begin(&mut self) {
        self.begun.clone_from(&self.set);
    }

    /// Every setting is what it was when the connection began.
    pub(super) fn reset(&mut self) {
        self.set.clone_from(&self.begun);
        if let Some(transaction) = &mut self.transaction {
            transaction.kept.clone_from(&self.begun);
        }
    }

    /// A transaction begins; one within another is the same.
    pub(super) fn begin_transaction(&mut self) {
        let Self { set, transaction, .. } = self;
        transaction.get_or_insert_with(|| Transaction {
            before: set.clone(),
            kept: set.clone(),
            savepoints: Vec::new(),
        });
    }

    /// The transaction ends, and with it what was set for it alone; if it is rolled back, everything that was set in it.
    pub(super) fn end_transaction(&mut self, is_commit: bool) {
        if let Some(Transaction { before, kept, .. }) = self.transaction.take() {
            self.set = if is_commit { kept } else { before };
        }
    }

    /// What is set now is what [`Settings::back_to`] brings back by this name, until the transaction ends.
    ///
    /// # Errors
    /// Outside of a transaction.
    pub(super) fn savepoint(&mut self, name: &str) -> Result<(), Unset> {
        let transaction = self.transaction.as_mut().ok_or(Unset::NoTransaction)?;
        if transaction.savepoints.len() >= SAVEPOINTS {
            let oldest = transaction.oldest_hidden().unwrap_or(0);
            transaction.savepoints.remove(oldest);
        }
        let (set, kept) = (self.set.clone(), transaction.kept.clone());
        transaction.savepoints.push(Savepoint { name: name.to_owned(), set, kept });
        Ok(())
    }

    /// Every setting is what it was at the newest savepoint of this name, which stays; later ones go.
    ///
    /// # Errors
    /// When there is none, and outside of a transaction.
    pub(super) fn back_to(&mut self, name: &str) -> Result<(), Unset> {
        let transaction = self.transaction.as_mut().ok_or(Unset::NoTransaction)?;
        let place = transaction.place(name)?;
        transaction.savepoints.truncate(place + 1);
        if let Some(savepoint) = transaction.savepoints.last() {
            self.set.clone_from(&savepoint.set);
            transaction.kept.clone_from(&savepoint.kept);
        }
        Ok(())
    }

    /// The newest savepoint of this name goes, and later ones; what is set stays.
    ///
    /// # Errors
    /// As [`Settings::back_to`].
    pub(super) fn release(&mut self, name: &str) -> Result<(), Unset> {
        let transaction = self.transaction.as_mut().ok_or(Unset::NoTransaction)?;
        let place = transaction.place(name)?;
        transaction.savepoints.truncate(place);
        Ok(())
    }

    /// Sets a value, or without one what it was when the connection began.
    pub(super) fn set(&mut self, name: &str, value: Option<&str>) -> Result<(), Unset> {
        if let Some((name, value)) = self.checked(name, value)? {
            if let Some(transaction) = &mut self.transaction {
                assign(&mut transaction.kept, name, value.clone());
            }
            assign(&mut self.set, name, value);
        }
        Ok(())
    }

    /// The same until the transaction ends; outside of one it is without effect, as in PostgreSQL.
    pub(super) fn set_local(&mut self, name: &str, value: Option<&str>) -> Result<(), Unset> {
        let change = self.checked(name, value)?;
        if let (Some((name, value)), Some(_)) = (change, &self.transaction) {
            assign(&mut self.set, name, value);
        }
        Ok(())
    }

    /// What a value changes: the name, and the value unless it is the default again. `None`: nothing.
    fn checked(&self, name: &str, value: Option<&str>) -> Result<Option<(&'static str, Option<String>)>, Unset> {
        let Some((name, default)) = known(name) else {
            // A name with a dot is an extension's; anybody may make one up.
            return if name.contains('.') { Ok(None) } else { Err(Unset::Unknown(name.to_owned())) };
        };
        let Some(value) = value else { return Ok(Some((name, self.begun.get(name).cloned()))) };
        if TIMES.contains(&name) && milliseconds(value).is_none() {
            return Err(Unset::NoTime { name, value: value.to_owned() });
        }
        if value.len() > LONGEST {
            return Err(Unset::TooLong { name });
        }
        let lower = value.to_ascii_lowercase();
        match FIXED.iter().find(|(fixed, _)| *fixed == name) {
            // It is what it was.
            Some((_, begins)) if begins.iter().any(|begin| lower.starts_with(begin)) => Ok(None),
            Some(_) => Err(Unset::Fixed { name, value: default }),
            None => Ok(Some((name, Some(value.to_owned())))),
        }
    }

    /// How long a statement may take, if the client has bounded it.
    pub(super) fn statement_timeout(&self) -> Option<Duration> {
        let milliseconds = milliseconds(self.set.get("statement_timeout")?)?;
        (milliseconds > 0).then(|| Duration::from_millis(milliseconds))
    }
}

fn assign(settings: &mut HashMap<&'static str, String>, name: &'static str, value: Option<String>) {
    match value {
        Some(value) => drop(settings.insert(name, value)),
        None => drop(settings.remove(name)),
    }
}

/// A time as PostgreSQL writes it, in milliseconds where it has no unit. `None`: it is none.
fn milliseconds(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
    let number: u64 = digits.parse().ok()?;
    match text.trim_start_matches(digits).trim() {
        "us" => Some(number.div_ceil(1_000)),
        "" | "ms" => Some(number),
        "s" => Some(number.saturating_mul(1_000)),
        "min" => Some(number.saturating_mul(60_000)),
        "h" => Some(number.saturating_mul(3_600_000)),
        "d" => Some(number.saturating_mul(86_400_000)),
        _ => None,
    }
}

/// What is told of [`Unset::TooLong`].
pub(super) fn too_long(name: &str) -> String {
    format!("{name} has {LONGEST} bytes at most")
}

/// What is told of [`Unset::NoTime`].
pub(super) fn no_time(name: &str, value: &str) -> String {
    format!("{value:?} is no time; set {name} to a number of milliseconds, or to one with a unit, as '30s'")
}

fn known(name: &str) -> Option<(&'static str, &'static str)> {
    let name = match name {
        // As in `SHOW TIME ZONE` and `SHOW TRANSACTION ISOLATION LEVEL`.
        "time zone" => "TimeZone",
        "transaction isolation level" => "transaction_isolation",
        "names" => "client_encoding",
        name => name,
    };
    SETTINGS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).copied()
}

/// What a `SET` sets: names, and values where they are not the default. `None` for what has no bearing on reading.
pub(super) fn assignments(set: &Set) -> Option<Vec<(String, Option<String>)>> {
    let one = |name: String, value: Option<String>| Some(vec![(name, value)]);
    match set {
        Set::SingleAssignment { variable, values, .. } => {
            let name = variable.to_string().to_lowercase().replace('"', "");
            let values: Vec<String> = values.iter().map(plain).collect();
            one(name, Some(values.join(", ")).filter(|value| !value.eq_ignore_ascii_case("default")))
        }
        Set::SetTimeZone { value, .. } => {
            one("time zone".to_owned(), Some(plain(value)).filter(|value| !value.eq_ignore_ascii_case("default")))
        }
        Set::SetNames { charset_name, .. } => one("names".to_owned(), Some(unquoted(&charset_name.to_string()))),
        Set::SetNamesDefault {} => one("names".to_owned(), None),
        _ => None,
    }
}

/// Whether it is for the transaction alone.
pub(super) fn is_local(set: &Set) -> bool {
    matches!(
        set,
        Set::SingleAssignment { scope: Some(ContextModifier::Local), .. } | Set::SetTimeZone { local: true, .. }
    )
}

fn plain(value: &Expr) -> String {
    unquoted(&value.to_string())
}

fn unquoted(text: &str) -> String {
    text.trim_matches(['\'', '"']).to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// What is set is shown, whatever the case of its name; a default is back after it was unset; what would change
    /// how values are written is refused unless it is as it is.
    #[test]
    fn settings_are_kept() {
        let mut settings = Settings::default();
        assert_eq!(settings.show("timezone"), Some(("TimeZone", "UTC".to_owned())));
        settings.set("TIMEZONE", Some("Europe/Berlin")).unwrap();
        assert_eq!(settings.show("time zone").unwrap().1, "Europe/Berlin");
        settings.set("timezone", None).unwrap();
        assert_eq!(settings.show("timezone").unwrap().1, "UTC");
        settings.set("datestyle", Some("ISO")).unwrap();
        assert!(matches!(settings.set("datestyle", Some("German")), Err(Unset::Fixed { name: "DateStyle", .. })));
        assert_eq!(settings.set("nosuch", Some("1")), Err(Unset::Unknown("nosuch".to_owned())));
        assert_eq!(settings.set("plpgsql.check", Some("1")), Ok(()));
    }

    /// What a client asked for when it connected is what its settings go back to, one by one and all at once.
    #[test]
    fn settings_go_back_to_the_beginning() {
        let mut settings = Settings::default();
        settings.set("timezone", Some("Europe/Berlin")).unwrap();
        settings.begin();
        settings.set("timezone", Some("Asia/Tokyo")).unwrap();
        settings.set("timezone", None).unwrap();
        assert_eq!(settings.show("timezone").unwrap().1, "Europe/Berlin");
        settings.set("timezone", Some("Asia/Tokyo")).unwrap();
        settings.set("application_name", Some("psql")).unwrap();
        settings.reset();
        assert_eq!(settings.show("timezone").unwrap().1, "Europe/Berlin");
        assert_eq!(settings.show("application_name").unwrap().1, "");
    }

    /// What is set in a transaction stays with its commit and goes with its rollback; what is set for it alone goes with
    /// either, and outside of one is not set at all.
    #[test]
    fn settings_end_with_their_transaction() {
        for (is_commit, wanted) in [(true, "10s"), (false, "0")] {
            let mut settings = Settings::default();
            settings.set_local("timezone", Some("Asia/Tokyo")).unwrap();
            assert_eq!(settings.show("timezone").unwrap().1, "UTC");
            settings.begin_transaction();
            settings.set_local("timezone", Some("Asia/Tokyo")).unwrap();
            settings.set("statement_timeout", Some("10s")).unwrap();
            settings.set_local("statement_timeout", Some("20s")).unwrap();
            assert_eq!(settings.show("timezone").unwrap().1, "Asia/Tokyo");
            assert_eq!(settings.show("statement_timeout").unwrap().1, "20s");
            settings.end_transaction(is_commit);
            assert_eq!(settings.show("timezone").unwrap().1, "UTC");
            assert_eq!(settings.show("statement_timeout").unwrap().1, wanted);
        }
    }

    /// Back at a savepoint settings are what they were there, with those for the transaction alone, and they end as they
    /// would have from there. The savepoint stays, later ones are gone, one that was released is unknown and gives back
    /// nothing, and of two of one name the newer counts.
    #[test]
    fn settings_go_back_to_a_savepoint() {
        let mut settings = Settings::default();
        assert_eq!(settings.savepoint("a"), Err(Unset::NoTransaction));
        assert_eq!(settings.back_to("a"), Err(Unset::NoTransaction));
        let shown = |settings: &Settings| settings.show("timezone").unwrap().1;
        settings.begin_transaction();
        settings.set("timezone", Some("Europe/Berlin")).unwrap();
        settings.savepoint("a").unwrap();
        settings.set("timezone", Some("Asia/Tokyo")).unwrap();
        settings.savepoint("b").unwrap();
        settings.savepoint("a").unwrap();
        settings.set_local("timezone", Some("Africa/Lagos")).unwrap();
        settings.back_to("a").unwrap();
        assert_eq!(shown(&settings), "Asia/Tokyo");
        settings.release("a").unwrap();
        settings.set_local("timezone", Some("Africa/Lagos")).unwrap();
        settings.release("b").unwrap();
        assert_eq!(
            (shown(&settings).as_str(), settings.back_to("b")),
            ("Africa/Lagos", Err(Unset::NoSavepoint("b".to_owned())))
        );
        for _ in 0..2 {
            settings.back_to("a").unwrap();
            assert_eq!(shown(&settings), "Europe/Berlin");
            settings.set("timezone", Some("Asia/Tokyo")).unwrap();
        }
        settings.back_to("a").unwrap();
        settings.end_transaction(true);
        assert_eq!(shown(&settings), "Europe/Berlin");
    }

    /// Of more savepoints than are kept the oldest goes, but before it those that newer ones of their name hide: a driver that
    /// sets one for each statement leaves its client's own. A value that is longer than any that means something is refused.
    #[test]
    fn what_savepoints_keep_is_bounded() {
        let mut settings = Settings::default();
        settings.begin_transaction();
        settings.savepoint("first").unwrap();
        settings.savepoint("second").unwrap();
        for _ in 0..2 * SAVEPOINTS {
            settings.savepoint("again").unwrap();
        }
        settings.back_to("second").unwrap();
        for number in 0..SAVEPOINTS - 1 {
            settings.savepoint(&number.to_string()).unwrap();
        }
        assert_eq!(settings.back_to("first"), Err(Unset::NoSavepoint("first".to_owned())));
        settings.back_to("second").unwrap();
        let long = "x".repeat(LONGEST + 1);
        assert_eq!(settings.set("application_name", Some(&long)), Err(Unset::TooLong { name: "application_name" }));
    }

    /// Times with and without a unit; 0 is no bound, and what is no time is refused.
    #[test]
    fn a_timeout_has_units() {
        let mut settings = Settings::default();
        for (text, bound) in
            [("250", Some(250)), ("3s", Some(3_000)), ("2 min", Some(120_000)), ("1us", Some(1)), ("0", None)]
        {
            settings.set("statement_timeout", Some(text)).unwrap();
            assert_eq!(settings.statement_timeout(), bound.map(Duration::from_millis), "{text}");
        }
        for wrong in ["x", "-1", "3 weeks", ""] {
            assert!(matches!(settings.set("statement_timeout", Some(wrong)), Err(Unset::NoTime { .. })), "{wrong}");
        }
    }
}
