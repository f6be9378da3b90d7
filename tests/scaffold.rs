//! Failing tests from evidence, as the program writes them and as Go and Python run them on the services of the example.

use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::checkout;
use crate::support::process::Process;
use crate::support::program::{Ran, Tracerag};
use crate::support::{free_port, part, telemetry, wait_for};

/// How long a service may take to listen.
const START: Duration = Duration::from_secs(900);

/// The first trace that failed with this type of exception.
pub fn trace_of(tracerag: &Tracerag, exception: &str) -> String {
    let query = format!(
        "select trace_id from failures where exception_type = '{exception}' and trace_id is not null order by time, \
         trace_id limit 1"
    );
    tracerag.sql(&query)[0]["trace_id"].as_str().unwrap().to_owned()
}

/// A test is printed, or written into a folder, with the same bytes each time, for a trace and for its bundle. A file that
/// somebody has changed is not written over. Where the evidence does not suffice, nothing is printed but what is missing.
#[test]
fn a_test_is_written_or_what_is_missing_is_said() {
    let tracerag = checkout::replayed(&[]);
    let trace = trace_of(&tracerag, "*payments.OverflowError");
    let bundle = tracerag.bundle(&trace)["bundle_id"].as_str().unwrap().to_owned();
    for (language, file, wanted) in [
        ("python", "test_trace_", "METHOD = \"POST\"\nTARGET = \"/checkout\""),
        ("go", "trace_", "_ \"payments/paymentsv1\""),
        ("node", "trace_", "const TARGET = \"/checkout\";"),
        ("java", "Trace", "String TARGET = \"/checkout\";"),
    ] {
        let text = tracerag.done(&["scaffold", "--lang", language, &trace]);
        assert!(text.contains(wanted) && text.contains(&bundle), "{wanted} in\n{text}");
        for anchor in ["#request/amount]", "[flag:payments.decimal_mode@payments] evaluated", "[build:payments@1.9.0]"]
        {
            assert!(text.contains(anchor), "{anchor} in\n{text}");
        }
        assert_eq!(tracerag.done(&["scaffold", "--lang", language, &bundle]), text);
        let folder = tracerag.path("tests").join(language);
        let arguments = ["scaffold", "--lang", language, "--out", folder.to_str().unwrap(), trace.as_str()];
        let path = PathBuf::from(tracerag.done(&arguments).trim_end());
        assert!(path.file_name().unwrap().to_str().unwrap().starts_with(file), "{}", path.display());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        tracerag.done(&arguments);
        std::fs::write(&path, "changed").unwrap();
        let ran = tracerag.run(&arguments);
        assert_eq!((ran.status, ran.stdout.as_str()), (1, ""), "{}", ran.stderr);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "changed");
    }
    let job = trace_of(&tracerag, "ValueError");
    for (arguments, status, wanted) in [
        (["scaffold", "--lang", "go", job.as_str()], 1, "of worker: it took a message"),
        (["scaffold", "--lang", "go", "ffffffffffffffffffffffffffffffff"], 1, "trace-unknown"),
        (["scaffold", "--lang", "cobol", trace.as_str()], 2, "python"),
    ] {
        let ran = tracerag.run(&arguments);
        assert_eq!((ran.status, ran.stdout.as_str()), (status, ""), "{arguments:?} {}", ran.stderr);
        assert!(ran.stderr.contains(wanted), "{arguments:?}: {}", ran.stderr);
    }
}

/// What `examples/checkout/setup.sh` has made.
pub struct Example {
    /// Variables by name: Python's place, that of the binaries, and Go's caches.
    pub variables: Vec<(String, String)>,
}

impl Example {
    /// `None` if it is not there, see [`part`].
    pub fn find() -> Option<Example> {
        let script = part("TRACERAG_TEST_CHECKOUT", "what the checkout example needs")?;
        let tell = r#"
            . "$1" >&2
            for name in CHECKOUT_PYTHON CHECKOUT_BINARIES GOMODCACHE GOCACHE GOFLAGS GOWORK CGO_ENABLED; do
              printf '%s=%s\n' "$name" "${!name}"
            done"#;
        let mut command = Command::new("bash");
        command.args(["-euo", "pipefail", "-c", tell, "-"]).arg(script.with_file_name("setup.sh"));
        let ran = Ran::from(command.output().expect("bash starts"));
        assert_eq!(ran.status, 0, "setup.sh fails:\n{}", ran.stderr);
        let variable = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        Some(Example { variables: ran.stdout.lines().filter_map(variable).collect() })
    }

    /// A path that one of the variables names.
    pub fn place(&self, name: &str) -> PathBuf {
        let found = self.variables.iter().find(|(known, _)| known == name);
        PathBuf::from(&found.expect("setup.sh sets it").1)
    }
}

/// Checkout, and payments in one release. Inventory is left to the tests.
struct Shop {
    checkout: u16,
    payments: u16,
    inventory: u16,
    flags: PathBuf,
    _processes: [Process; 2],
}

impl Shop {
    fn start(example: &Example, release: &str, folder: &Path) -> Shop {
        std::fs::create_dir_all(folder).unwrap();
        let (checkout, payments, inventory) = (free_port(), free_port(), free_port());
        let flags = folder.join("flags.json");
        std::fs::write(&flags, r#"{"flags": {}}"#).unwrap();
        std::fs::write(folder.join("payments.json"), format!("[\"127.0.0.1:{payments}\"]")).unwrap();
        let path = |name: &str| folder.join(name).display().to_string();
        let common = [
            // Telemetry of these goes nowhere.
            String::from("OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:9"),
            format!("FLAGS_FILE={}", flags.display()),
        ];
        let of_payments = [
            format!("LISTEN=127.0.0.1:{payments}"),
            format!("INVENTORY_URL=http://127.0.0.1:{inventory}"),
            String::from("SERVICE_INSTANCE_ID=payments-b-1"),
            format!("HEAP_FOLDER={}", folder.display()),
            example.place("CHECKOUT_BINARIES").join(format!("payments-{release}")).display().to_string(),
        ];
        let of_checkout = [
            String::from("PYTHONDONTWRITEBYTECODE=1"),
            format!("PYTHONPATH={}", telemetry::checkout("").display()),
            String::from("SERVICE_VERSION=2.3.0"),
            String::from("SERVICE_COMMIT=5d0e7c31a94f2b6880e1c3d5f7a9b1c3e5070921"),
            String::from("SERVICE_INSTANCE_ID=checkout-1"),
            format!("PORT={checkout}"),
            String::from("PAYMENTS_DEADLINE_SECONDS=25"),
            format!("PAYMENTS_FILE={}", path("payments.json")),
            format!("ORDERS_FILE={}", path("orders.db")),
            format!("QUEUE_FILE={}", path("queue.db")),
            example.place("CHECKOUT_PYTHON").display().to_string(),
            String::from("-m"),
            String::from("shop.checkout"),
        ];
        let start = |more: &[String], log: &str| {
            let command: Vec<String> =
                std::iter::once(String::from("env")).chain(common.iter().chain(more).cloned()).collect();
            Process::start(&command, folder, log)
        };
        let processes = [start(&of_payments, "payments.log"), start(&of_checkout, "checkout.log")];
        for (process, port) in processes.iter().zip([payments, checkout]) {
            wait_for("a service listens", START, || {
                assert!(process.alive(), "{}", process.log_tail());
                TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()
            });
        }
        Shop { checkout, payments, inventory, flags, _processes: processes }
    }

    /// Runs a test against a target; its status, and all that it printed.
    fn judge(&self, mut command: Command, target: &str) -> (bool, String) {
        command
            .env("SCAFFOLD_TARGET", target)
            .env("SCAFFOLD_MOCK_INVENTORY", format!("127.0.0.1:{}", self.inventory))
            .env("SCAFFOLD_FLAGS_FILE", &self.flags);
        let ran = Ran::from(command.output().expect("the test starts"));
        (ran.status == 0, ran.stdout + &ran.stderr)
    }
}

/// The tests of the recorded decimal overflow, in Go against payments and in Python against checkout with payments behind
/// it, fail on the release of the trace, of the failure that the trace has, and pass on the release with the fix. Flags
/// and inventory are those that the tests themselves make.
#[test]
fn the_tests_are_red_on_the_recorded_build_and_green_on_the_fixed_one() {
    let Some(example) = Example::find() else { return };
    let tracerag = checkout::replayed(&[]);
    let trace = trace_of(&tracerag, "*payments.OverflowError");
    // In a copy of the module, for the sources stay as they are.
    let module = tracerag.path("payments");
    let copied = Command::new("cp").arg("-r").arg(telemetry::checkout("payments")).arg(&module).status();
    assert!(copied.expect("cp starts").success());
    let out = module.join("scaffold");
    tracerag.done(&["scaffold", "--lang", "go", "--out", out.to_str().unwrap(), &trace]);
    let folder = tracerag.path("python");
    let printed = tracerag.done(&["scaffold", "--lang", "python", "--out", folder.to_str().unwrap(), &trace]);
    for (release, is_red) in [("1.9.0", true), ("1.9.1", false)] {
        let shop = Shop::start(&example, release, &tracerag.path(release));
        let mut go = Command::new("go");
        go.args(["test", "-count=1", "-v", "./scaffold"]).current_dir(&module);
        go.envs(example.variables.iter().cloned()).env("GOPROXY", "off");
        let mut python = Command::new(example.place("CHECKOUT_PYTHON"));
        python.arg(printed.trim_end()).arg("-v").env("PYTHONDONTWRITEBYTECODE", "1");
        for (name, command, target) in [
            ("go", go, format!("127.0.0.1:{}", shop.payments)),
            ("python", python, format!("http://127.0.0.1:{}", shop.checkout)),
        ] {
            let (passed, told) = shop.judge(command, &target);
            assert_eq!(passed, !is_red, "{name} on {release}:\n{told}");
            assert!(!told.to_lowercase().contains("skip"), "{name} on {release} did not run:\n{told}");
            for wanted in ["the failure of the trace is there", "decimal overflow"] {
                assert_eq!(told.contains(wanted), is_red, "{wanted} by {name} on {release}:\n{told}");
            }
        }
    }
}
