#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;

mod states;

fn frame_key(frame: &Frame, language: Language) -> String {
    FrameKeys::default().of(frame, language).to_string()
}

fn parse(text: &str) -> StackTrace {
    StackTrace::parse(text, &InAppRules::default())
}

/// `function file:line` of every frame, a `*` before those of the application, sections divided by
/// their types.
fn show(trace: &StackTrace) -> Vec<String> {
    let mut shown = Vec::new();
    for section in &trace.sections {
        shown.push(format!(
            "[{}] {}",
            section.exception_type.as_deref().unwrap_or("?"),
            section.message.as_deref().unwrap_or("-")
        ));
        for frame in &section.frames {
            shown.push(format!(
                "{}{} {}:{}",
                if frame.in_app { "*" } else { "" },
                frame.function.as_deref().unwrap_or("?"),
                frame.file.as_deref().unwrap_or("?"),
                frame.line.map_or("?".to_owned(), |line| line.to_string()),
            ));
        }
    }
    shown
}

/// Java: causes follow the outer exception, suppressed ones are left out, native and generated
/// methods have no file, a module or an archive around a frame does not matter.
#[test]
fn java() {
    let trace = parse(
        "org.shop.CheckoutException: checkout of order 7 failed
\tat org.shop.Checkout.place(Checkout.java:41)
\tat org.shop.Checkout.lambda$run$0(Checkout.java:30)
\tat java.base/java.util.ArrayList.forEach(ArrayList.java:1511)
\tat org.springframework.web.servlet.FrameworkServlet.service(FrameworkServlet.java:897) ~[spring-webmvc-5.3.9.jar!/:5.3.9]
\tSuppressed: java.io.IOException: close
\t\tat org.shop.Pool.close(Pool.java:9)
\t... 12 more
Caused by: java.lang.ArithmeticException: decimal overflow
\tat payments.Rounding.half(Rounding.java:117)
\tat java.base/jdk.internal.reflect.NativeMethodAccessorImpl.invoke0(Native Method)
\t... 3 more",
    );
    assert_eq!(trace.language, Some(Language::Java));
    assert_eq!(
        show(&trace),
        [
            "[org.shop.CheckoutException] checkout of order 7 failed",
            "*org.shop.Checkout.place Checkout.java:41",
            "*org.shop.Checkout.lambda$run$0 Checkout.java:30",
            "java.base/java.util.ArrayList.forEach ArrayList.java:1511",
            "org.springframework.web.servlet.FrameworkServlet.service FrameworkServlet.java:897",
            "[java.lang.ArithmeticException] decimal overflow",
            "*payments.Rounding.half Rounding.java:117",
            "java.base/jdk.internal.reflect.NativeMethodAccessorImpl.invoke0 ?:?",
        ]
    );
}

/// Python prints the oldest call first and the cause above the exception that was recorded; both are
/// turned round.
#[test]
fn python() {
    let trace = parse(
        "Traceback (most recent call last):
  File \"/usr/local/lib/python3.11/site-packages/httpcore/_sync/connection.py\", line 101, in handle_request
    raise exc
  File \"/app/clients/payments.py\", line 31, in charge
    return self._send(request)
           ^^^^^^^^^^^^^^^^^^^
httpcore.ConnectError: [Errno 111] Connection refused

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File \"/app/main.py\", line 12, in checkout
    charge(order)
  File \"/app/shop/cart.py\", line 88, in charge
    raise PaymentFailed(\"no connection\") from error
shop.cart.PaymentFailed: no connection
",
    );
    assert_eq!(trace.language, Some(Language::Python));
    assert_eq!(
        show(&trace),
        [
            "[shop.cart.PaymentFailed] no connection",
            "*charge /app/shop/cart.py:88",
            "*checkout /app/main.py:12",
            "[httpcore.ConnectError] [Errno 111] Connection refused",
            "*charge /app/clients/payments.py:31",
            "handle_request /usr/local/lib/python3.11/site-packages/httpcore/_sync/connection.py:101",
        ]
    );
}

/// Python's exception groups have bars before every line.
#[test]
fn python_exception_group() {
    let trace = parse(
        "  + Exception Group Traceback (most recent call last):
  |   File \"/app/main.py\", line 5, in run
  |     raise ExceptionGroup(\"many\", errors)
  | ExceptionGroup: many (1 sub-exception)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File \"/app/job.py\", line 9, in work
    |     raise ValueError(\"bad\")
    | ValueError: bad
    +------------------------------------",
    );
    assert_eq!(trace.frames().map(|frame| frame.function.as_deref().unwrap()).collect::<Vec<_>>(), ["work", "run"]);
    assert_eq!(trace.sections[0].exception_type.as_deref(), Some("ValueError"));
}

/// Go: arguments and offsets are cut off, and after a panic the frames that caught it are dropped.
#[test]
fn go() {
    let trace = parse(
        "goroutine 18 [running]:
runtime/debug.Stack()
\t/usr/local/go/src/runtime/debug/stack.go:24 +0x5e
main.recovered.func1()
\t/src/shop/main.go:20 +0x2a
panic({0x6e1240?, 0xc0000182d0?})
\t/usr/local/go/src/runtime/panic.go:785 +0x132
example.org/shop/cart.(*Cart).Add(0xc000012345, {0x1, 0x2})
\t/src/shop/cart/cart.go:57 +0x1d
github.com/go-chi/chi/v5.(*Mux).ServeHTTP(0xc0001, {0x7f})
\t/home/dev/go/pkg/mod/github.com/go-chi/chi/v5@v5.0.10/mux.go:73 +0x4e
created by main.main in goroutine 1
\t/src/shop/main.go:11 +0x1f",
    );
    assert_eq!(trace.language, Some(Language::Go));
    assert_eq!(
        show(&trace),
        [
            "[?] -",
            "*example.org/shop/cart.(*Cart).Add /src/shop/cart/cart.go:57",
            "github.com/go-chi/chi/v5.(*Mux).ServeHTTP /home/dev/go/pkg/mod/github.com/go-chi/chi/v5@v5.0.10/mux.go:73",
            "*main.main /src/shop/main.go:11",
        ]
    );
}

/// Node.js: with and without a function, asynchronous calls, and a cause.
#[test]
fn node() {
    let trace = parse(
        "TypeError: Cannot read properties of undefined (reading 'amount')
    at Cart.total (/app/src/cart.js:12:5)
    at async Promise.all (index 0)
    at new Order (file:///app/src/order.mjs:7:3)
    at /app/src/routes.js:30:11
    at Layer.handle [as handle_request] (/app/node_modules/express/lib/router/layer.js:95:5)
    at process.processTicksAndRejections (node:internal/process/task_queues:95:5) {
  [cause]: Error: connect ECONNREFUSED 10.0.0.7:5432
      at TCPConnectWrap.afterConnect [as oncomplete] (node:net:1555:16)
}",
    );
    assert_eq!(trace.language, Some(Language::JavaScript));
    assert_eq!(
        show(&trace),
        [
            "[TypeError] Cannot read properties of undefined (reading 'amount')",
            "*Cart.total /app/src/cart.js:12",
            "Promise.all index 0:?",
            "*Order file:///app/src/order.mjs:7",
            "*? /app/src/routes.js:30",
            "Layer.handle /app/node_modules/express/lib/router/layer.js:95",
            "process.processTicksAndRejections node:internal/process/task_queues:95",
            "[Error] connect ECONNREFUSED 10.0.0.7:5432",
            "TCPConnectWrap.afterConnect node:net:1555",
        ]
    );
}

/// .NET: the frames of the inner exception stand first and go to it, one-line and many-line headings.
#[test]
fn dot_net() {
    let trace = parse(
        "Shop.CheckoutException: checkout failed ---> System.DivideByZeroException: Attempted to divide by zero.
   at Shop.Money.Split(Decimal amount, Int32 parts) in /src/Shop/Money.cs:line 14
   at System.Linq.Enumerable.ToList[TSource](IEnumerable`1 source)
   --- End of inner exception stack trace ---
   at Shop.Checkout.<PlaceAsync>d__7.MoveNext() in C:\\src\\Shop\\Checkout.cs:line 40
--- End of stack trace from previous location ---
   at Microsoft.AspNetCore.Mvc.Infrastructure.ActionMethodExecutor.Execute(Object controller)",
    );
    assert_eq!(trace.language, Some(Language::DotNet));
    assert_eq!(
        show(&trace),
        [
            "[Shop.CheckoutException] checkout failed",
            "*Shop.Checkout.<PlaceAsync>d__7.MoveNext C:\\src\\Shop\\Checkout.cs:40",
            "Microsoft.AspNetCore.Mvc.Infrastructure.ActionMethodExecutor.Execute ?:?",
            "[System.DivideByZeroException] Attempted to divide by zero.",
            "*Shop.Money.Split /src/Shop/Money.cs:14",
            "System.Linq.Enumerable.ToList[TSource] ?:?",
        ]
    );
}

/// Ruby: message and type stand in the first frame's line, the cause after it; both kinds of quotes.
#[test]
fn ruby() {
    let trace = parse(
        "/app/lib/cart.rb:12:in `block in add': no price (Shop::CartError)
\tfrom /usr/local/bundle/gems/rack-2.2.4/lib/rack/builder.rb:244:in `call'
\tfrom /app/app.rb:8:in 'Shop::App#run'
/app/lib/prices.rb:3:in `fetch': key not found: :amount (KeyError)
\tfrom /app/lib/cart.rb:11:in `add'",
    );
    assert_eq!(trace.language, Some(Language::Ruby));
    assert_eq!(
        show(&trace),
        [
            "[Shop::CartError] no price",
            "*block in add /app/lib/cart.rb:12",
            "call /usr/local/bundle/gems/rack-2.2.4/lib/rack/builder.rb:244",
            "*Shop::App#run /app/app.rb:8",
            "[KeyError] key not found: :amount",
            "*fetch /app/lib/prices.rb:3",
            "*add /app/lib/cart.rb:11",
        ]
    );
}

/// PHP prints the previous exception first and the recorded one as `Next`; its SDK also writes Java's form.
#[test]
fn php() {
    let trace = parse(
        "PHP Fatal error:  Uncaught PDOException: SQLSTATE[42P01]: no such table in /app/src/Db.php:9
Stack trace:
#0 /app/src/Db.php(9): PDO->query('SELECT 1')
#1 /app/vendor/doctrine/dbal/src/Connection.php(77): Shop\\Db->all()
#2 {main}

Next Shop\\OrderException: cannot load order in /app/src/Order.php:20
Stack trace:
#0 [internal function]: Shop\\Order->load(7)
#1 /app/public/index.php(3): Shop\\App->run()
#2 {main}",
    );
    assert_eq!(trace.language, Some(Language::Php));
    assert_eq!(
        show(&trace),
        [
            "[Shop\\OrderException] cannot load order",
            "Shop\\Order->load ?:?",
            "*Shop\\App->run /app/public/index.php:3",
            "{main} ?:?",
            "[PDOException] SQLSTATE[42P01]: no such table",
            "*PDO->query /app/src/Db.php:9",
            "Shop\\Db->all /app/vendor/doctrine/dbal/src/Connection.php:77",
            "{main} ?:?",
        ]
    );
    let as_java = parse("Shop\\OrderException: x\n at Shop.Order.load(Order.php:20)\n at {main}(index.php:3)");
    assert_eq!(as_java.language, Some(Language::Php));
    assert_eq!(as_java.in_app_count(), 1);
}

/// Rust: the file stands in the line below; what the panic itself calls is not of the application.
#[test]
fn rust() {
    let trace = parse(
        "thread 'main' panicked at src/cart.rs:12:9:
stack backtrace:
   0: rust_begin_unwind
             at /rustc/59807616e1fa2540724bfbac14d7976d7e4a3860/library/std/src/panicking.rs:689:5
   1: core::panicking::panic_fmt
             at /rustc/59807616e1fa2540724bfbac14d7976d7e4a3860/library/core/src/panicking.rs:80:14
   2: shop::cart::Cart::add::h0123456789abcdef
             at ./src/cart.rs:12:9
   3:     0x55d0c0ffee00 - <shop::App as tower::Service<R>>::call
             at ./src/app.rs:40:13
   4: tokio::runtime::task::raw::poll
             at /home/dev/.cargo/registry/src/index-6f17d22bba15001f/tokio-1.35.1/src/runtime/task/raw.rs:201:18",
    );
    assert_eq!(trace.language, Some(Language::Rust));
    assert_eq!(trace.sections[0].exception_type.as_deref(), Some("panic"));
    let in_app: Vec<_> =
        trace.frames().filter(|frame| frame.in_app).map(|frame| frame_key(frame, Language::Rust)).collect();
    assert_eq!(in_app, ["shop::cart::Cart::add@src/cart.rs", "<shop::App as tower::Service<R>>::call@src/app.rs"]);
    assert_eq!(trace.frames().count(), 5);
}

/// The message of a panic in Rust is the line below its place, or stands in quotation marks before it; where neither is
/// there, none is made up. Guarantees that two panics of one function are two.
#[test]
fn a_panic_has_its_message() {
    for (text, message) in [
        (
            "thread 'main' panicked at src/score.rs:97:18:\nattempt to divide by zero\nstack backtrace:",
            Some("attempt to divide by zero"),
        ),
        ("thread 'tokio-runtime-worker' (4711) panicked at src/a.rs:1:2:\nno: entry\n  left: 1", Some("no: entry")),
        (
            "thread 'main' panicked at 'it isn't there', src/a.rs:1:2\nnote: run with `RUST_BACKTRACE=1`",
            Some("it isn't there"),
        ),
        ("thread 'main' panicked at src/a.rs:1:2:\nstack backtrace:", None),
        ("thread 'main' panicked at src/a.rs:1:2:", None),
    ] {
        let trace = parse(text);
        assert_eq!(trace.sections[0].exception_type.as_deref(), Some("panic"), "{text}");
        assert_eq!(trace.sections[0].message.as_deref(), message, "{text}");
    }
}

/// .NET prints a code behind some types, of the exception itself and of one within it. Guarantees that it is known all
/// the same, and that a number in brackets behind something else makes no type of it.
#[test]
fn a_code_behind_a_type_is_no_part_of_it() {
    let trace = parse(
        "System.Net.Http.HttpRequestException: Connection refused (db:5432)
 ---> System.Net.Sockets.SocketException (111): Connection refused
   at System.Net.Sockets.Socket.Connect() in /_/src/Socket.cs:line 12
   --- End of inner exception stack trace ---
   at Shop.Ledger.Post(Int32 id) in /app/Ledger.cs:line 7",
    );
    let types: Vec<_> = trace.sections.iter().map(|section| section.exception_type.as_deref().unwrap()).collect();
    assert_eq!(types, ["System.Net.Http.HttpRequestException", "System.Net.Sockets.SocketException"]);
    assert_eq!(trace.sections[1].message.as_deref(), Some("Connection refused"));
    let sql =
        parse("Npgsql.PostgresException (0x80004005): 23505: duplicate key\n   at Shop.Db.Save() in /app/Db.cs:line 3");
    assert_eq!(sql.sections[0].exception_type.as_deref(), Some("Npgsql.PostgresException"));
    assert_eq!(sql.sections[0].message.as_deref(), Some("23505: duplicate key"));
    assert_eq!(parse("order (12): cancelled").sections.len(), 0);
}

/// Lines, addresses, folders of a release and names that compilers make up do not change a frame's key.
#[test]
fn keys_survive_a_new_build() {
    let same = [
        (Language::Java, "a.B.lambda$run$0", "B.java", "a.B.lambda$run$3", "B.java"),
        (Language::Java, "a.B$$Lambda$12/0x1.get", "B.java", "a.B$$Lambda$99/0x2.get", "B.java"),
        (Language::DotNet, "A.<RunAsync>d__7.MoveNext", "/a/A.cs", "A.<RunAsync>d__9.MoveNext", "/b/A.cs"),
        (Language::Rust, "a::b::h0123456789abcdef", "src/b.rs", "a::b::hfedcba9876543210", "src/b.rs"),
        (Language::Python, "f", "/srv/releases/20230101/app/x.py", "f", "/srv/releases/20240101/app/x.py"),
        (Language::JavaScript, "f", "/app/dist/main.4f3a2b1c9d.js", "f", "/app/dist/main.0a9b8c7d6e.js"),
    ];
    for (language, function, file, other_function, other_file) in same {
        let key = |function: &str, file: &str| {
            frame_key(
                &Frame {
                    function: Some(function.to_owned()),
                    file: Some(file.to_owned()),
                    line: None,
                    column: None,
                    in_app: true,
                },
                language,
            )
        };
        assert_eq!(key(function, file), key(other_function, other_file), "{language:?}");
    }
}

/// Own rules go before the built-in ones, both ways.
#[test]
fn own_rules_win() {
    let rules = InAppRules {
        in_app: vec!["org.apache.myteam.".to_owned()],
        not_in_app: vec!["org.shop.generated.".to_owned()],
    };
    assert!(rules.is_in_app(Language::Java, Some("org.apache.myteam.A.b"), Some("A.java")));
    assert!(!rules.is_in_app(Language::Java, Some("org.shop.generated.A.b"), Some("A.java")));
    assert!(rules.is_in_app(Language::Java, Some("org.shop.A.b"), Some("A.java")));
}

/// A recursion of ten thousand calls is cut, the innermost frames stay.
#[test]
fn long_traces_are_cut() {
    let mut text = "Traceback (most recent call last):\n".to_owned();
    for line in 1..=3000 {
        text.push_str(&format!("  File \"/app/x.py\", line {line}, in f\n"));
    }
    text.push_str("RecursionError: maximum recursion depth exceeded\n");
    let trace = parse(&text);
    assert_eq!(trace.frames().count(), MAX_FRAMES);
    assert_eq!(trace.frames().next().unwrap().line, Some(3000));
}

/// Prose, JSON and log lines are no traces.
#[test]
fn other_text_has_no_frames() {
    for text in [
        "",
        "at noon (sharp) we met",
        "connection refused",
        "{\"at\": 1}",
        "#1 reason: we said so",
        "1: first\n2: second",
        "see foo:12:in between",
    ] {
        assert!(parse(text).is_empty(), "{text:?}: {:?}", show(&parse(text)));
    }
}

proptest! {
    /// Whatever comes in, parsing ends without a panic and within its bounds.
    #[test]
    fn never_panics(text in "\\PC{0,300}") {
        prop_assert!(parse(&text).frames().count() <= MAX_FRAMES);
    }

    /// The same over lines made of the marks that the forms consist of.
    #[test]
    fn never_panics_on_marks(
        pieces in prop::collection::vec(
            prop_oneof![
                Just("at "), Just("("), Just(")"), Just(":"), Just("12"), Just("\n"), Just("\t"), Just(" in "), Just(":line "), Just("File \""), Just("\", line "), Just("#0 "),
                Just("0: "), Just("::"), Just("Caused by: "), Just(" ---> "), Just("Error"), Just("x.go"), Just("x.rs"), Just(":in `"), Just("'"), Just(": "), Just("\u{e4}"),
                Just("panic"), Just("created by "), Just(") ["), Just("| "), Just(" (A)"), Just("--- End of inner exception stack trace"), Just("Traceback (most recent call last):")
            ],
            0..60,
        )
    ) {
        let trace = parse(&pieces.concat());
        prop_assert!(trace.frames().count() <= MAX_FRAMES);
        for frame in trace.frames() {
            prop_assert!(frame_key(frame, trace.language.unwrap()).contains('@'));
        }
    }
}
