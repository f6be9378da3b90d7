//! Two tenants in one lake that saw the same, each in its own words, and the questions by which neither may learn of the
//! other. An interface that answers tenants implements [`Interface`] and is tried with [`keeps_apart`].

use super::program::Tracerag;
use crate::worked_example;

/// What a tenant calls its own: nothing of it is anybody else's.
#[derive(Debug, Clone)]
pub struct Names {
    /// Its name, and a part of every name in its telemetry.
    pub word: &'static str,
    pub trace: String,
    pub bundle: String,
    pub fingerprint: String,
    /// Of the commit that its build is of.
    pub commit: String,
}

impl Names {
    /// Names that are nobody's, of the same form.
    fn of_nobody() -> Names {
        Names {
            word: "wombat",
            trace: "c0c1".repeat(8),
            bundle: format!("sha256:{}", "c2c3".repeat(16)),
            fingerprint: "c4c5".repeat(8),
            commit: String::from("feeddad"),
        }
    }

    /// A question with these names in their places: `{trace}`, `{word}` ...
    fn fill(&self, template: &str) -> String {
        self.pairs().iter().fold(template.to_owned(), |text, (place, name)| text.replace(place, name))
    }

    /// An answer without these names, so that answers about different names can be compared.
    fn hide(&self, answer: &str) -> String {
        self.pairs().iter().fold(answer.to_owned(), |text, (place, name)| text.replace(name, place))
    }

    fn pairs(&self) -> [(&'static str, &str); 5] {
        [
            ("{bundle}", &self.bundle),
            ("{trace}", &self.trace),
            ("{fingerprint}", &self.fingerprint),
            ("{commit}", &self.commit),
            ("{word}", self.word),
        ]
    }
}

/// One tenant's client of an interface.
pub trait Interface {
    /// What comes back for a statement with values for `$1`, `$2` ..: rows or the error, as text, whole.
    fn sql(&self, statement: &str, values: &[&str]) -> String;

    /// What can be asked besides SQL, with places for names.
    fn requests(&self) -> Vec<&'static str> {
        vec![]
    }

    /// What comes back for one of these, its places filled.
    fn request(&self, request: &str) -> String {
        panic!("no requests, and yet {request:?}")
    }
}

/// A lake with both tenants, and their names.
pub fn two() -> (Tracerag, [Names; 2]) {
    let tracerag = Tracerag::new();
    let names = [("quokka", "a0a1", "badcafe"), ("numbat", "b0b1", "deadbee")]
        .map(|(word, digits, commit)| settle(&tracerag, word, &digits.repeat(8), commit));
    assert_ne!(names[0].fingerprint, names[1].fingerprint, "each has failures of its own");
    (tracerag, names)
}

/// Replays the worked example as the telemetry of a tenant, in its words.
fn settle(tracerag: &Tracerag, word: &'static str, trace: &str, commit: &str) -> Names {
    let own = |text: String| {
        let words = [("payments", "pay"), ("checkout", "shop"), ("decimal", "digits"), ("memory", "room")];
        let text = words.iter().fold(text, |text, (old, new)| text.replace(old, &format!("{word}{new}")));
        text.replace(worked_example::TRACE, trace).replace("a1b2c3d", commit)
    };
    let files = worked_example::files().map(|(name, text)| tracerag.write(&format!("{word}-{name}"), own(text)));
    let files = files.each_ref().map(|file| file.to_str().unwrap());
    tracerag.done(&[&["--tenant", word, "replay"][..], &files[..]].concat());
    let bundle = tracerag.done(&["--tenant", word, "bundle", trace]);
    let bundle: serde_json::Value = serde_json::from_str(&bundle).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    Names {
        word,
        trace: trace.to_owned(),
        bundle: text(&bundle["bundle_id"]),
        fingerprint: text(&bundle["evidence"]["failures"][0]["fingerprint"]),
        commit: commit.to_owned(),
    }
}

/// Statements without names: their answers are of the tenant that asks, or an error that says nothing of others.
const BROAD: &[&str] = &[
    "select distinct tenant_id from spans union select tenant_id from traces union select tenant_id from logs",
    "select * from trace_revisions union all select * from traces",
    "with s as (select * from spans) select * from (select * from s where tenant_id is not null) order by name",
    "select * from spans where trace_id in (select trace_id from failures) and exists (select 1 from logs where logs.trace_id = spans.trace_id)",
    "select a.name, b.body from spans a full join logs b on a.span_id = b.span_id",
    "select service_name, count(*), max(name), array_agg(distinct name) from spans group by rollup (service_name)",
    "select name, lag(name) over (order by start_time), count(*) over () from spans",
    // Errors that name a value that did not fit.
    "select cast(name as int) from spans",
    "select count(*) from spans where cast(service_name as int) = 1",
    "select * from logs where cast(body as timestamp) > now()",
    "select 1 / (case when tenant_id is null then 1 else 0 end) from spans",
    "select * from similar_incidents('quokkadigits overflow numbatdigits overflow', 100)",
    "select * from similar_incidents('overflow', 100, '{\"environment\": \"production\"}')",
    "select * from information_schema.tables",
    "select * from information_schema.columns",
    "select * from information_schema.views",
    "select * from information_schema.schemata",
    "select * from information_schema.df_settings",
    "select * from information_schema.routines",
    "show tables",
    "show all",
    "explain select * from incidents",
    "explain verbose select * from spans where name <> ''",
    "explain analyze select count(*) from spans",
    "explain format tree select * from spans",
];

/// Statements about names, and values for them: whose names they are, another's or nobody's, makes no difference.
const NAMED: &[(&str, &[&str])] = &[
    ("select count(*) from spans where trace_id = '{trace}'", &[]),
    ("select * from traces where trace_id = $1", &["{trace}"]),
    ("select * from logs where trace_id = $1 or body like '%{word}%'", &["{trace}"]),
    ("select * from spans where tenant_id = $1", &["{word}"]),
    ("select * from (select * from failures) f where f.fingerprint = $1", &["{fingerprint}"]),
    ("select * from incidents where fingerprint = $1 or array_has(example_trace_ids, '{trace}')", &["{fingerprint}"]),
    ("select * from bundles where bundle_id = $1", &["{bundle}"]),
    ("select * from fixes where fingerprint = $1", &["{fingerprint}"]),
    ("select * from builds where starts_with(git_sha, $1)", &["{commit}"]),
    ("select * from trace_tree('{trace}')", &[]),
    ("select * from trace_tree($1)", &["{trace}"]),
    ("select * from log_templates('{\"trace_id\": \"{trace}\"}')", &[]),
    ("select * from log_templates() where template like '%{word}%'", &[]),
    ("select * from evidence_bundle('{trace}')", &[]),
    ("select * from evidence_bundle($1)", &["{trace}"]),
    ("select * from similar_incidents('{trace}', 10)", &[]),
    ("select * from compare_to_baseline('{trace}')", &[]),
    ("select * from compare_to_baseline($1)", &["{fingerprint}"]),
    ("select * from similar_incidents('overflow', 100, '{\"service\": \"{word}pay\"}')", &[]),
    ("select 1 / count(*) from spans where service_name = '{word}pay'", &[]),
    ("select (select min(start_time) from spans where service_name = '{word}shop') is null as absent", &[]),
    ("explain select * from spans where service_name = '{word}pay'", &[]),
    ("select * from {word}.public.spans", &[]),
    ("select * from {word}", &[]),
];

/// Asks everything as each tenant, after the other has asked it, too: what is kept of one answer must not get into
/// another. Guarantees that
/// - no answer to a tenant holds a name of the other;
/// - answers about the other's names are those about names that nobody has;
/// - each tenant does find its own names by these questions.
pub fn keeps_apart(tracerag: &Tracerag, names: &[Names; 2], clients: &[Box<dyn Interface>; 2]) {
    let nobody = Names::of_nobody();
    let tables = tracerag.sql("select table_name from information_schema.tables where table_schema = 'public'");
    let tables = tables.iter().map(|row| format!("select * from {}", row["table_name"].as_str().unwrap()));
    let mut broad: Vec<String> = BROAD.iter().map(|statement| (*statement).to_owned()).collect();
    broad.extend(tables);
    let ask = |client: &dyn Interface, names: &Names, (statement, values): &(&str, &[&str])| {
        let values: Vec<String> = values.iter().map(|value| names.fill(value)).collect();
        client.sql(&names.fill(statement), &values.iter().map(String::as_str).collect::<Vec<_>>())
    };
    for (own, other, client, stranger) in
        [(&names[0], &names[1], &clients[0], &clients[1]), (&names[1], &names[0], &clients[1], &clients[0])]
    {
        let (client, stranger) = (&**client, &**stranger);
        let mut seen = String::new();
        for statement in &broad {
            stranger.sql(statement, &[]);
            let answer = client.sql(statement, &[]);
            is_without(&answer, other, statement);
            seen.push_str(&answer);
        }
        for question in NAMED {
            seen.push_str(&ask(client, own, question));
            ask(stranger, other, question);
            let (of_other, of_nobody) = (ask(client, other, question), ask(client, &nobody, question));
            assert_eq!(other.hide(&of_other), nobody.hide(&of_nobody), "{}", question.0);
        }
        for template in client.requests() {
            let about = |names: &Names| client.request(&names.fill(template));
            stranger.request(&other.fill(template));
            let answer = about(own);
            is_without(&answer, other, template);
            seen.push_str(&answer);
            if other.fill(template) != template {
                assert_eq!(other.hide(&about(other)), nobody.hide(&about(&nobody)), "{template}");
            }
        }
        for (place, name) in own.pairs() {
            assert!(seen.contains(name), "{} does not find its own {place}: the questions show nothing", own.word);
        }
    }
}

/// Ways to ask how a statement is run: what is read is files and rows of all tenants.
const PLANS: &[&str] = &[
    "explain analyze select count(*) from spans",
    "explain analyze verbose select * from spans where name <> ''",
    "explain format tree select * from spans",
    "explain verbose select * from spans",
    "explain select * from spans",
];

/// That whoever asks is shown no file and no count of what was read, with every scope, too.
pub fn shows_no_plan(client: &dyn Interface) {
    for statement in PLANS {
        let answer = client.sql(statement, &[]);
        for part in [".lance", "LanceRead", "LakeScanExec", "output_rows"] {
            assert!(!answer.contains(part), "{statement} shows {part}: {answer}");
        }
    }
    let refused = client.sql(PLANS[0], &[]);
    assert!(refused.contains("tracerag sql"), "who may not see it is told where it is shown: {refused}");
}

/// That a text holds no name of a tenant.
pub fn is_without(text: &str, names: &Names, what: &str) {
    for (place, name) in names.pairs() {
        assert!(!text.contains(name), "{what} shows {place} of {}: {text}", names.word);
    }
}
