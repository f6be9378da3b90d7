//! `compare_to_baseline(trace_id_or_fingerprint [, options])`.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, Float64Array, Int64Array, ListBuilder, StringArray, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::arguments::Arguments;
use crate::bundle::Bundler;
use crate::compare::{Difference, Report, Request};
use crate::error::Result;

/// Ranks of the rows that are no differences: what was compared, and what there is nothing to say of.
const NO_RANK: i64 = 0;

pub(super) fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let anchors = DataType::List(Arc::new(Field::new("item", DataType::Utf8, true)));
        Arc::new(Schema::new(vec![
            Field::new("rank", DataType::Int64, false),
            Field::new("kind", DataType::Utf8, false),
            Field::new("name", DataType::Utf8, true),
            Field::new("value", DataType::Utf8, true),
            Field::new("failing_with", DataType::Int64, true),
            Field::new("failing", DataType::Int64, true),
            Field::new("good_with", DataType::Int64, true),
            Field::new("good", DataType::Int64, true),
            Field::new("lift", DataType::Float64, true),
            Field::new("p_value", DataType::Float64, true),
            Field::new("q_value", DataType::Float64, true),
            Field::new("reason", DataType::Utf8, false),
            Field::new("anchors", anchors, false),
            Field::new("example_trace_id", DataType::Utf8, true),
        ]))
    });
    Arc::clone(&SCHEMA)
}

pub(super) async fn call(bundler: &Bundler, arguments: &Arguments) -> Result<RecordBatch> {
    let mut request = Request::about(arguments.text(0, "trace_id_or_fingerprint")?);
    if let Some(options) = arguments.optional_text(1)? {
        request = request.narrowed(options)?;
    }
    batch(&bundler.compare(&request).await?)
}

/// A row of the answer.
enum Row<'a> {
    /// Which traces were compared, with the sizes of both sides.
    Compared(&'a Report),
    Note(&'a str),
    Difference(&'a Difference),
}

impl<'a> Row<'a> {
    fn difference(&self) -> Option<&'a Difference> {
        match self {
            Self::Difference(difference) => Some(difference),
            Self::Compared(_) | Self::Note(_) => None,
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Compared(_) => "compared",
            Self::Note(_) => "note",
            Self::Difference(difference) => difference.kind.name(),
        }
    }

    fn reason(&self) -> String {
        match self {
            Self::Compared(report) => format!("{}. Compared are {}", report.said, report.rule),
            Self::Note(note) => (*note).to_owned(),
            Self::Difference(difference) => difference.reason.clone(),
        }
    }

    /// How many traces of the failing, and of the good side it is about.
    fn sides(&self) -> Option<[u64; 2]> {
        match self {
            Self::Compared(report) => Some([report.failing.compared, report.good.compared]),
            Self::Note(_) => None,
            Self::Difference(difference) => Some([difference.failing, difference.good]),
        }
    }
}

fn batch(report: &Report) -> Result<RecordBatch> {
    let notes = report.notes.iter().map(|note| Row::Note(note));
    let rows: Vec<Row<'_>> = std::iter::once(Row::Compared(report))
        .chain(notes)
        .chain(report.differences.iter().map(Row::Difference))
        .collect();
    let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let texts = |text: &dyn Fn(&Difference) -> String| -> ArrayRef {
        Arc::new(rows.iter().map(|row| row.difference().map(text)).collect::<StringArray>())
    };
    let counts = |count: &dyn Fn(&Row<'_>) -> Option<u64>| -> ArrayRef {
        Arc::new(rows.iter().map(|row| count(row).map(whole)).collect::<Int64Array>())
    };
    let numbers = |number: &dyn Fn(&Difference) -> Option<f64>| -> ArrayRef {
        Arc::new(rows.iter().map(|row| row.difference().and_then(number)).collect::<Float64Array>())
    };
    let mut anchors = ListBuilder::new(StringBuilder::new());
    for row in &rows {
        for anchor in row.difference().into_iter().flat_map(|difference| &difference.anchors) {
            anchors.values().append_value(anchor);
        }
        anchors.append(true);
    }
    let ranks = rows.iter().map(|row| row.difference().map_or(NO_RANK, |difference| whole(difference.rank)));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(ranks)),
        Arc::new(StringArray::from_iter_values(rows.iter().map(Row::kind))),
        texts(&|difference| difference.name.clone()),
        texts(&|difference| difference.value.clone()),
        counts(&|row| row.difference().map(|difference| difference.failing_with)),
        counts(&|row| row.sides().map(|[failing, _]| failing)),
        counts(&|row| row.difference().map(|difference| difference.good_with)),
        counts(&|row| row.sides().map(|[_, good]| good)),
        numbers(&|difference| difference.lift),
        numbers(&|difference| Some(difference.p_value)),
        numbers(&|difference| Some(difference.q_value)),
        Arc::new(StringArray::from_iter_values(rows.iter().map(Row::reason))),
        Arc::new(anchors.finish()),
        Arc::new(rows.iter().map(|_| report.example_trace_id.as_deref()).collect::<StringArray>()),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}
