use super::*;

fn spans(json: &str) -> (RecordBatch, super::super::DecodeCounts) {
    let batches = decode_with(Policy::Standard, Signal::Spans, Encoding::Json, json.as_bytes()).unwrap();
    (lake(Table::Spans, &batches.spans.unwrap()), batches.counts)
}

fn wrap(span: &str) -> String {
    format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{span}]}}]}}]}}"#)
}

/// What the specification allows is no deviation: hex of either case, 64-bit integers as numbers or text,
/// unknown fields, null, the words for what JSON has no number for.
#[test]
fn the_specification_is_no_deviation() {
    let (batch, counts) = spans(&wrap(
        r#"{"traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"eee19b7ec3c1b174","parentSpanId":"","unknown":[{"a":1}],
            "kind":2,"startTimeUnixNano":1544712660000000000,"endTimeUnixNano":"1544712661000000000","status":null,
            "attributes":[{"key":"n","value":{"doubleValue":"NaN"}},{"key":"i","value":{"intValue":"-5"}},
                          {"key":"j","value":{"intValue":7}},{"key":"e","value":{}},{"key":"d","value":{"doubleValue":3}}]}"#,
    ));
    assert_eq!(cell(&batch, "trace_id", 0).as_deref(), Some("5b8efff798038103d269b633813fc60c"));
    assert_eq!(cell(&batch, "kind", 0).as_deref(), Some("SERVER"));
    assert_eq!(cell(&batch, "duration_ns", 0).as_deref(), Some("1000000000"));
    let values: Vec<_> = entries(&batch, "attributes", 0).into_iter().map(|(_, value)| value).collect();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(values, [text("NaN"), text("-5"), text("7"), None, text("3.0")]);
    assert_eq!(counts, super::super::DecodeCounts::default());
}

/// What is outside the specification but clear is taken and counted by kind.
#[test]
fn clear_deviations_are_taken_and_counted() {
    let (batch, counts) = spans(&wrap(
        r#"{"trace_id":"W47/95gDgQPSabYzgT/GDA==","spanId":"7uGbfsPBsXQ=","kind":"SPAN_KIND_CLIENT","flags":"257",
            "startTimeUnixNano":"-1","endTimeUnixNano":1.5e18,"status":{"code":"STATUS_CODE_ERROR"},
            "attributes":[{"key":"b","value":{"boolValue":"true"}}]}"#,
    ));
    assert_eq!(cell(&batch, "trace_id", 0).as_deref(), Some("5b8efff798038103d269b633813fc60c"));
    assert_eq!(cell(&batch, "span_id", 0).as_deref(), Some("eee19b7ec3c1b174"));
    assert_eq!(cell(&batch, "kind", 0).as_deref(), Some("CLIENT"));
    assert_eq!(cell(&batch, "status_code", 0).as_deref(), Some("ERROR"));
    assert_eq!(cell(&batch, "flags", 0).as_deref(), Some("257"));
    assert_eq!(cell(&batch, "start_time", 0), None);
    let counts: Vec<_> = counts.iter().collect();
    let expected = [("json_base64_ids", 2), ("json_enum_names", 2), ("json_snake_case", 1), ("json_other_types", 4)];
    assert_eq!(counts, expected);
}

/// A bad id in JSON drops its span alone, as in protobuf.
#[test]
fn a_bad_id_drops_one_span() {
    let good = r#"{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174"}"#;
    let bad = r#"{"traceId":"not an id","spanId":"eee19b7ec3c1b174"}"#;
    let (batch, counts) = spans(&wrap(&format!("{bad},{good}")));
    assert_eq!(batch.num_rows(), 1);
    assert_eq!(counts.invalid_trace_id, 1);
}

/// A value that fits its field in no way costs the field alone: the rest of its span and of the message is taken.
/// Where it is all that there was, the message is refused with a reason that names the field.
#[test]
fn a_misfit_costs_its_field() {
    let ids = r#""traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174""#;
    let cases = [
        (r#""name":{"a":[1]}"#, "name"),
        (r#""name":[1]"#, "name"),
        (r#""kind":"SIDEWAYS""#, "kind"),
        (r#""startTimeUnixNano":1.5"#, "startTimeUnixNano"),
        (r#""flags":4294967296"#, "flags"),
        (r#""attributes":[{"key":"k","value":{"bytesValue":"*"}}]"#, "bytesValue"),
        (r#""attributes":[{"key":"k","value":{"intValue":"12.5"}}]"#, "intValue"),
        (r#""attributes":7"#, "attributes"),
        (r#""attributes":["x"]"#, "attributes"),
    ];
    for (misfit, field) in cases {
        let (batch, counts) = spans(&wrap(&format!(r#"{{{misfit},{ids},"traceState":"kept"}},{{{ids}}}"#)));
        assert_eq!(batch.num_rows(), 2, "{misfit}");
        assert_eq!(cell(&batch, "trace_state", 0).as_deref(), Some("kept"), "{misfit}");
        assert_eq!(counts.iter().collect::<Vec<_>>(), [("json_misfits", 1)], "{misfit}");
        let alone = wrap(&format!("{{{misfit}}}"));
        let error = decode_with(Policy::Standard, Signal::Spans, Encoding::Json, alone.as_bytes()).unwrap_err();
        assert!(error.to_string().contains(field), "{error}");
    }
    let whole = decode_with(Policy::Standard, Signal::Spans, Encoding::Json, br#"{"resourceSpans":7}"#).unwrap_err();
    assert!(whole.to_string().contains("resourceSpans"), "{whole}");
    let trailing = decode_with(Policy::Standard, Signal::Spans, Encoding::Json, b"{} {}").unwrap_err();
    assert!(trailing.to_string().contains("trailing"), "{trailing}");
}

/// JSON of another kind is refused with what is missing, and with what is there where OTLP names it; other names
/// may be personal and are not shown. An empty object is an empty message.
#[test]
fn json_of_another_kind_is_refused() {
    let refused = |text: &str| {
        decode_with(Policy::Standard, Signal::Spans, Encoding::Json, text.as_bytes()).unwrap_err().to_string()
    };
    for text in [r#"{"resourceLogs":[]}"#, r#"{"resource_logs":[]}"#] {
        let error = refused(text);
        assert!(error.contains("resourceLogs") && error.contains("resourceSpans"), "{error}");
        assert!(error.ends_with("does the topic hold another signal or encoding?"), "{error}");
    }
    for text in [r#"{"msg":"x"}"#, r#"{"alice@example.com":1}"#, r#"{"data":[{"traceID":"a","spans":[]}]}"#, "[{}]"] {
        let error = refused(text);
        assert!(!error.contains("alice") && !error.contains("msg"), "{error}");
    }
    for text in ["{}", r#"{"resourceSpans":[]}"#, r#"{"resourceSpans":[{}],"more":1}"#] {
        let batches = decode_with(Policy::Standard, Signal::Spans, Encoding::Json, text.as_bytes()).unwrap();
        assert!(batches.spans.is_none());
    }
}

/// What is meant by a scalar of another type is clear where a text or any value is expected; half a surrogate pair
/// costs one character.
#[test]
fn scalars_are_taken_as_text_or_any_value() {
    let (batch, counts) = spans(&wrap(
        r#"{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","name":"cut \ud83d",
            "attributes":[{"key":"a","value":{"stringValue":5}},{"key":"b","value":"text"},{"key":"c","value":7},
                          {"key":"d","value":true},{"key":"e","value":2.5},{"key":"f","value":{"stringValue":false}}]}"#,
    ));
    assert_eq!(cell(&batch, "name", 0).as_deref(), Some("cut \u{fffd}"));
    let values: Vec<_> = entries(&batch, "attributes", 0).into_iter().filter_map(|(_, value)| value).collect();
    assert_eq!(values, ["5", "text", "7", "true", "2.5", "false"]);
    assert_eq!(entry(&batch, "attributes_types", "c").as_deref(), Some("int"));
    assert_eq!(counts.iter().collect::<Vec<_>>(), [("json_other_types", 6), ("json_lone_surrogates", 1)]);
}

/// An id that is no string drops its span and no other.
#[test]
fn an_id_of_another_type_drops_one_span() {
    let good = r#"{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174"}"#;
    let bad = r#"{"traceId":7,"spanId":"eee19b7ec3c1b174"}"#;
    let (batch, counts) = spans(&wrap(&format!("{bad},{good}")));
    assert_eq!((batch.num_rows(), counts.invalid_trace_id, counts.json_misfits), (1, 1, 0));
}

/// Values nested more deeply than a reader of JSON follows cost themselves, in known and in unknown fields.
#[test]
fn deep_nesting_costs_no_message() {
    let ids = r#""traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174""#;
    let list = |inner: String, _| format!(r#"{{"kvlistValue":{{"values":[{{"key":"k","value":{inner}}}]}}}}"#);
    let value = (0..200).fold(r#"{"intValue":1}"#.to_owned(), list);
    let unknown = format!("{}{}", "[".repeat(500), "]".repeat(500));
    let deep = format!(r#"{{{ids},"attributes":[{{"key":"deep","value":{value}}}],"unknown":{unknown}}}"#);
    let (batch, counts) = spans(&wrap(&format!("{deep},{{{ids}}}")));
    assert_eq!(batch.num_rows(), 2);
    assert_eq!(counts.iter().collect::<Vec<_>>(), [("json_misfits", 1)]);
}

/// The reason of a refusal is logged, stored and sent on, so it shows nothing of the message: neither texts nor
/// numbers, wherever they stand.
#[test]
fn reasons_show_no_content() {
    let log = |record: &str| format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{record}]}}]}}]}}"#);
    let cases = [
        log(r#"{"body":"login of alice@example.com"}"#),
        log(r#""alice@example.com""#),
        log(r#"{"body":4111111111111111}"#),
        log(r#"{"body":4111111111111111.5}"#),
        r#""login of alice@example.com""#.to_owned(),
        "4111111111111111".to_owned(),
        r#"{"resourceLogs":"alice@example.com"}"#.to_owned(),
        r#"{"resourceLogs":[{"scopeLogs":4111111111111111}]}"#.to_owned(),
    ];
    for case in cases {
        let refused = decode_with(Policy::Off, Signal::Logs, Encoding::Json, case.as_bytes());
        let Err(error) = refused else { continue };
        let text = error.to_string();
        assert!(!text.contains("alice") && !text.contains("4111"), "{text}");
    }
}

/// The encoding is found out from the first byte; a newline in front may begin either.
#[test]
fn the_encoding_is_found_out() {
    let json = wrap(r#"{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174"}"#);
    let proto = request(Vec::new(), vec![span(Vec::new())]).encode_to_vec();
    // A request of 0x7b bytes of spans begins with a newline and a brace, and is protobuf.
    let mut name = 0;
    let brace = loop {
        let bytes = request(Vec::new(), vec![Span { name: "n".repeat(name), ..span(Vec::new()) }]).encode_to_vec();
        if bytes[1] == b'{' {
            break bytes;
        }
        name += 1;
    };
    for bytes in [json.as_bytes(), format!("\n{json}").as_bytes(), format!(" \n{json}").as_bytes(), &proto, &brace] {
        let batches = decode_with(Policy::Standard, Signal::Spans, Encoding::Auto, bytes).unwrap();
        assert_eq!(batches.spans.unwrap().num_rows(), 1);
    }
}
