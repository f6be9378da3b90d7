#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;

/// What goes in and what must come out, by class.
const CASES: &[(&str, &str)] = &[
    // keyed hashes and redaction's placeholders
    ("user hmac:k1:9f86d081884c7d65 is locked", "user <id> is locked"),
    ("user hmac:2f/a+b== is locked", "user <id> is locked"),
    ("mail to <email> bounced", "mail to <email> bounced"),
    ("card <card> refused", "card <card> refused"),
    ("a <b and c> d", "a <b and c> d"),
    ("token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.4wTnGMdW-ePeXiW refused", "token <jwt> refused"),
    ("eyJ is no token", "eyJ is no token"),
    // URLs
    ("GET http://payments:8080/charge?id=3 failed", "GET <url:payments> failed"),
    ("Post \"http://stock/reserve\": EOF", "Post \"<url:stock>\": EOF"),
    ("see https://api.example.com/v1/charges/ch_12.", "see <url:api.example.com>."),
    ("call to http://10.0.0.7:8080/x timed out", "call to <url> timed out"),
    ("jdbc:postgresql://db.internal:5432/orders", "jdbc:<url:db.internal>"),
    ("amqp://guest:guest@mq-3.prod/vhost closed", "<url> closed"),
    ("(s3://bucket-a/key/1)", "(<url:bucket-a>)"),
    // e-mail
    ("no user alice@example.org", "no user <email>"),
    ("no user bob.smith+x@mail.example.co.uk!", "no user <email>!"),
    ("decorator @override", "decorator @override"),
    // paths
    ("open /tmp/upload-abc/x.bin: no such file or directory", "open <path>: no such file or directory"),
    ("open /etc/app/config.yaml: permission denied", "open /etc/app/config.yaml: permission denied"),
    ("cannot read C:\\Users\\bob\\x.txt", "cannot read <path>"),
    ("cannot read ~/notes/x.md.", "cannot read <path>."),
    ("at /home/alice/app/main.py:12", "at <path>:<num>"),
    ("GET /api/v1/orders/4711/items", "GET /api/v1/orders/<num>/items"),
    ("GET /search?q=shoes&page=2 failed", "GET /search?<query> failed"),
    ("is it true? yes", "is it true? yes"),
    ("and/or", "and/or"),
    // trace context and uuids
    ("traceparent 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "traceparent <traceparent>"),
    ("order 4d3f04e2-70b1-4297-86ec-4d76be327717 gone", "order <uuid> gone"),
    ("order 4D3F04E2-70B1-4297-86EC-4D76BE327717 gone", "order <uuid> gone"),
    ("cart=0a0a0a0a-0000-0000-0000-000000000000,x", "cart=<uuid>,x"),
    // dates and times
    ("at 2023-01-30T12:01:02.090+00:00 it broke", "at <date> it broke"),
    ("at 2023-01-30 12:01:02,090 it broke", "at <date> it broke"),
    ("at 2023-01-30T12:01:02Z", "at <date>"),
    ("on 2021-07-14, trip", "on <date>, trip"),
    ("on 2021/07/14", "on <date>"),
    ("on 14.07.2021", "on <date>"),
    ("on 07/14/2021 10:15", "on <date>"),
    ("[30/Jan/2023:12:01:02 +0000] x", "[<date>] x"),
    ("Mon, 30 Jan 2023 12:01:02 GMT x", "<date> x"),
    ("Mon Jan 30 12:01:02 2023 x", "<date> x"),
    ("Jan 30 12:01:02 host", "<date> host"),
    ("January 2, 2006 x", "<date> x"),
    ("19:50:53.327 INFO x", "<time> INFO x"),
    ("between 09:15 and 17:45", "between <time> and <time>"),
    ("may fail", "may fail"),
    ("sun rises", "sun rises"),
    ("Mon Jan 30 19:51:02 CST 2023 x", "<date> x"),
    // addresses
    ("dial tcp 10.0.0.5:5432: connect: connection refused", "dial tcp <ip>:5432: connect: connection refused"),
    ("dial tcp 10.0.0.5:6379: connect: connection refused", "dial tcp <ip>:6379: connect: connection refused"),
    ("read tcp 10.0.0.5:51234->10.0.0.9:6379: reset", "read tcp <ip>-><ip>:6379: reset"),
    ("from 192.168.1.1/24", "from <ip>"),
    ("from 2001:db8::8a2e:370:7334 x", "from <ip> x"),
    ("[::1] refused", "[<ip>] refused"),
    ("nic 00:1b:44:11:3a:b7 down", "nic <mac> down"),
    ("std::collections::hash_map", "std::collections::hash_map"),
    ("a::b::c", "a::b::c"),
    // hosts and pods
    ("lookup node-17.eu.example.com: no such host", "lookup <host>: no such host"),
    ("lookup payments.shop.svc: no such host", "lookup payments.shop.svc: no such host"),
    ("No instances available for ts-train-service", "No instances available for ts-train-service"),
    ("pod payments-7d9f8c6b5d-x2x4z evicted", "pod payments-<pod> evicted"),
    ("pod ts-travel2-service-5c66d57d58-zxw8n evicted", "pod ts-travel2-service-<pod> evicted"),
    // error codes stay
    ("status code 502", "status code 502"),
    ("status=503", "status=503"),
    ("\"status\":500,\"x\":7", "\"status\":500,\"x\":<num>"),
    ("[Errno 111] Connection refused", "[Errno 111] Connection refused"),
    ("500 Internal Server Error", "500 Internal Server Error"),
    ("404 Not Found for order 12", "404 Not Found for order <num>"),
    ("HTTP 429 from upstream", "HTTP 429 from upstream"),
    ("HTTP/1.1 503 Service Unavailable", "HTTP/1.1 503 Service Unavailable"),
    ("HTTP/2 503", "HTTP/2 503"),
    ("ORA-00942: table or view does not exist", "ORA-00942: table or view does not exist"),
    ("error TS2345: x", "error TS2345: x"),
    ("SQLSTATE[42P01]: x", "SQLSTATE[42P01]: x"),
    ("Error 1062 (23000): Duplicate entry", "Error 1062 (<num>): Duplicate entry"),
    ("No such file (os error 2)", "No such file (os error 2)"),
    ("exit status 137", "exit status 137"),
    ("exit code: 1", "exit code: 1"),
    ("grpc_status:13, x", "grpc_status:13, x"),
    ("zip code 10115", "zip code <num>"),
    ("error: 5 items", "error: <num> items"),
    // hexadecimal
    ("commit a1b2c3d4e5f6a7b8c9d0a1b2c3d4e5f6a7b8c9d0", "commit <hex>"),
    ("md5 d41d8cd98f00b204e9800998ecf8427e", "md5 <hex>"),
    ("span c46355406540fc81", "span <hex>"),
    ("span 1234567890123456", "span <hex>"),
    ("addr 0xc000123abc", "addr <hex>"),
    ("deadbeef cafe", "deadbeef cafe"),
    // durations and sizes
    ("took 12ms", "took <duration>"),
    ("took 12.5 ms", "took <duration>"),
    ("timeout after 30 seconds", "timeout after <duration>"),
    ("timeout of 30s exceeded", "timeout of <duration> exceeded"),
    ("waited 1h2m3.5s", "waited <duration>"),
    ("waited 1m30s", "waited <duration>"),
    ("grew to 512 MiB", "grew to <size>"),
    ("read 1,024 bytes", "read <size>"),
    ("message of 5242881B is too large", "message of <size> is too large"),
    // versions
    ("agent 1.9.0 is too old", "agent <version> is too old"),
    ("agent v2.14 is too old", "agent <version> is too old"),
    ("agent 1.0.0-rc.1", "agent <version>"),
    ("api v2", "api v2"),
    // numbers
    ("index out of range [5] with length 3", "index out of range [<num>] with length <num>"),
    ("balance -12.75 below 0", "balance <num> below <num>"),
    ("x=1e-9", "x=<num>"),
    ("1,234,567 rows", "<num> rows"),
    ("retry 1/3", "retry <num>/<num>"),
    ("time\u{ff1a}0 and \u{4ef7}12", "time\u{ff1a}<num> and \u{4ef7}<num>"),
    ("took 12\u{b5}s", "took <duration>"),
    ("99% full", "<num>% full"),
    ("t.c.Travel2Controller#115 x", "t.c.Travel2Controller#<num> x"),
    // ids with digits
    ("tripId: D1345", "tripId: <id>"),
    ("order-12345", "order-<num>"),
    ("order_12345", "order_<num>"),
    ("order12345", "order<num>"),
    ("charge ch_3MmlLrLkdIwHu7ix0snN0B15 failed", "charge <id> failed"),
    ("worker x2x4z", "worker <id>"),
    ("unsupported digest sha256", "unsupported digest sha256"),
    ("'utf8' codec", "'utf8' codec"),
    ("log4j2 base64 x86_64 int64", "log4j2 base64 x86_64 int64"),
    ("Travel2Controller", "Travel2Controller"),
    ("a 2nd try", "a 2nd try"),
    // quotes
    ("KeyError: 'customer_id'", "KeyError: 'customer_id'"),
    ("column \"amount\" does not exist", "column \"amount\" does not exist"),
    ("Duplicate entry 'alice smith' for key", "Duplicate entry <quoted> for key"),
    ("invalid literal for int(): 'abc 12'", "invalid literal for int(): <quoted>"),
    ("name='bob' failed", "name=<quoted> failed"),
    (
        "{\"name\": \"bob\", \"error\": \"Internal Server Error\"}",
        "{\"name\": <quoted>, \"error\": \"Internal Server Error\"}",
    ),
    ("details = \"order 7 rejected\"", "details = \"order <num> rejected\""),
    ("can't parse John's file", "can't parse John's file"),
    ("empty \"\" here", "empty \"\" here"),
    // white space and colours
    ("a\n\tb   c ", "a b c"),
    ("\u{1b}[31mred\u{1b}[0m text", "red text"),
    ("", ""),
];

/// Every class is shown with what it takes and with what it must leave alone.
#[test]
fn classes_take_what_varies_and_leave_what_tells() {
    assert!(CASES.len() >= 100);
    let wrong: Vec<String> = CASES
        .iter()
        .filter(|(text, expected)| mask(text) != *expected)
        .map(|(text, expected)| format!("{text:?}\n  expected {expected:?}\n  got      {:?}", mask(text)))
        .collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), CASES.len(), wrong.join("\n"));
}

/// A log line with time, statement and trace ids in front keeps the statement and loses the rest, so
/// that two lines of one statement become one text.
#[test]
fn a_log_prefix_is_masked() {
    let line = |time: &str, trace: &str, span: &str, order: &str| {
        mask(&format!(
            "{time} ERROR e.s.ExecuteServiceImpl#51 TraceID: {trace} SpanID: {span} [ticketExecute][Order Status Wrong][orderId: {order}]"
        ))
    };
    let first = line(
        "19:53:25.432",
        "94ff4acb1cca33957b729bff5cc490bd",
        "389339ec044f738e",
        "4d3f04e2-70b1-4297-86ec-4d76be327717",
    );
    let second = line(
        "20:01:02.106",
        "3227b61562530dcfe1ffcf086c615646",
        "3ff82e05ec63ec8c",
        "c95e44f6-9bf2-46d3-8016-78bea207fea2",
    );
    assert_eq!(first, second);
    assert_eq!(
        first,
        "<time> ERROR e.s.ExecuteServiceImpl#<num> TraceID: <hex> SpanID: <hex> [ticketExecute][Order Status Wrong][orderId: <uuid>]"
    );
}

/// Texts that differ in what they say stay apart: a wrong merge is the worse error.
#[test]
fn different_failures_stay_different() {
    let pairs = [
        ("No instances available for ts-train-service", "No instances available for ts-order-service"),
        ("dial tcp 10.0.0.5:5432: connection refused", "dial tcp 10.0.0.5:6379: connection refused"),
        ("status code 502", "status code 404"),
        ("column \"amount\" does not exist", "column \"currency\" does not exist"),
        ("Post \"http://payments/charge\": EOF", "Post \"http://stock/charge\": EOF"),
        ("ORA-00942: x", "ORA-01017: x"),
        ("unsupported digest sha256", "unsupported digest md5"),
    ];
    for (left, right) in pairs {
        assert_ne!(mask(left), mask(right), "{left} / {right}");
    }
}

/// A megabyte of one endless word, of dots, of quotes or of digits ends soon: no class looks at the
/// same bytes again and again.
#[test]
fn long_texts_are_cut_and_quick() {
    for piece in ["a", "a.", "\"", "'x ", "1:", "/a", "-5", "ab12-", "<", "a@", "1,222"] {
        let masked = mask(&piece.repeat(1_000_000 / piece.len()));
        assert!(masked.len() <= MAX_OUTPUT);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever comes in, masking ends without a panic, and masking again changes nothing.
    #[test]
    fn masking_is_idempotent(text in "\\PC{0,200}") {
        let once = mask(&text);
        prop_assert_eq!(mask(&once), once);
    }

    /// The same over texts made of the pieces that the classes look for.
    #[test]
    fn masking_pieces_is_idempotent(
        pieces in prop::collection::vec(
            prop_oneof![
                Just("'"), Just("\""), Just("`"), Just("\\"), Just("<"), Just(">"), Just("="), Just(":"), Just("::"), Just("-"), Just("+"), Just("."), Just(","),
                Just("/"), Just("?"), Just("@"), Just(" "), Just("http://"), Just("status"), Just("error"), Just("code "), Just("abc"), Just("x2x4z"), Just("D1345"),
                Just("12"), Just("7"), Just("12:30"), Just("2023-01-30"), Just("Jan"), Just("10.0.0.1"), Just("ms"), Just("0x1f"), Just("<num>"), Just("ORA-"), Just("\u{e4}"),
                Just("deadbeef01"), Just("/tmp/"), Just("hmac:"), Just("v1.2"), Just("HTTP/"), Just("C:\\"), Just("\u{1b}["), Just("\n"), Just("order_"), Just("500 Internal")
            ],
            0..40,
        )
    ) {
        let once = mask(&pieces.concat());
        prop_assert_eq!(mask(&once), once);
    }
}
