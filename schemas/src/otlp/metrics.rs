//! Metric points of the lake, each as a metric of its own.

use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric,
    NumberDataPoint, Sum, Summary, SummaryDataPoint, exemplar, number_data_point,
};

use super::EncodeError;
use super::fields::Fields;
use crate::values::{METRIC_KINDS, TEMPORALITIES};

/// The metric of a row.
pub(super) fn metric(fields: &Fields<'_>, row: usize) -> Result<Metric, EncodeError> {
    let temporality = fields.number_of("temporality", row, &TEMPORALITIES)?;
    let data = match fields.number_of("kind", row, &METRIC_KINDS)? {
        0 => Data::Gauge(Gauge { data_points: vec![number(fields, row)?] }),
        1 => Data::Sum(Sum {
            data_points: vec![number(fields, row)?],
            aggregation_temporality: temporality,
            is_monotonic: fields.boolean("monotonic", row)?,
        }),
        2 => Data::Histogram(Histogram {
            data_points: vec![histogram(fields, row)?],
            aggregation_temporality: temporality,
        }),
        3 => Data::ExponentialHistogram(ExponentialHistogram {
            data_points: vec![exponential(fields, row)?],
            aggregation_temporality: temporality,
        }),
        _ => Data::Summary(Summary { data_points: vec![summary(fields, row)?] }),
    };
    Ok(Metric {
        name: fields.string("name", row)?,
        description: fields.string("description", row)?,
        unit: fields.string("unit", row)?,
        metadata: fields.attributes("metadata", row, false)?,
        data: Some(data),
    })
}

fn unsigned(fields: &Fields<'_>, name: &str, row: usize) -> Result<u64, EncodeError> {
    Ok(fields.int64(name, row)?.unwrap_or_default() as u64)
}

fn number(fields: &Fields<'_>, row: usize) -> Result<NumberDataPoint, EncodeError> {
    let value = match (fields.int64("value_int", row)?, fields.double("value", row)?) {
        (Some(int), _) => Some(number_data_point::Value::AsInt(int)),
        (None, double) => double.map(number_data_point::Value::AsDouble),
    };
    Ok(NumberDataPoint {
        attributes: fields.attributes("attributes", row, true)?,
        start_time_unix_nano: fields.time("start_time", row)?,
        time_unix_nano: fields.time("time", row)?,
        exemplars: fields.each("exemplars", row, exemplar)?,
        flags: fields.count("flags", row)?,
        value,
    })
}

fn histogram(fields: &Fields<'_>, row: usize) -> Result<HistogramDataPoint, EncodeError> {
    Ok(HistogramDataPoint {
        attributes: fields.attributes("attributes", row, true)?,
        start_time_unix_nano: fields.time("start_time", row)?,
        time_unix_nano: fields.time("time", row)?,
        count: unsigned(fields, "count", row)?,
        sum: fields.double("sum", row)?,
        bucket_counts: fields.int64s("buckets", row)?.unwrap_or_default(),
        explicit_bounds: fields.doubles("bounds", row)?,
        exemplars: fields.each("exemplars", row, exemplar)?,
        flags: fields.count("flags", row)?,
        min: fields.double("min", row)?,
        max: fields.double("max", row)?,
    })
}

fn exponential(fields: &Fields<'_>, row: usize) -> Result<ExponentialHistogramDataPoint, EncodeError> {
    let side = |offset: &str, buckets: &str| -> Result<Option<Buckets>, EncodeError> {
        let Some(offset) = fields.int32(offset, row)? else { return Ok(None) };
        Ok(Some(Buckets { offset, bucket_counts: fields.int64s(buckets, row)?.unwrap_or_default() }))
    };
    Ok(ExponentialHistogramDataPoint {
        attributes: fields.attributes("attributes", row, true)?,
        start_time_unix_nano: fields.time("start_time", row)?,
        time_unix_nano: fields.time("time", row)?,
        count: unsigned(fields, "count", row)?,
        sum: fields.double("sum", row)?,
        scale: fields.int32("scale", row)?.unwrap_or_default(),
        zero_count: unsigned(fields, "zero_count", row)?,
        positive: side("positive_offset", "positive_buckets")?,
        negative: side("negative_offset", "negative_buckets")?,
        flags: fields.count("flags", row)?,
        exemplars: fields.each("exemplars", row, exemplar)?,
        min: fields.double("min", row)?,
        max: fields.double("max", row)?,
        zero_threshold: fields.double("zero_threshold", row)?.unwrap_or_default(),
    })
}

fn summary(fields: &Fields<'_>, row: usize) -> Result<SummaryDataPoint, EncodeError> {
    let quantile = |fields: &Fields<'_>, row: usize| {
        Ok(ValueAtQuantile {
            quantile: fields.double("quantile", row)?.unwrap_or_default(),
            value: fields.double("value", row)?.unwrap_or_default(),
        })
    };
    Ok(SummaryDataPoint {
        attributes: fields.attributes("attributes", row, true)?,
        start_time_unix_nano: fields.time("start_time", row)?,
        time_unix_nano: fields.time("time", row)?,
        count: unsigned(fields, "count", row)?,
        sum: fields.double("sum", row)?.unwrap_or_default(),
        quantile_values: fields.each("quantiles", row, quantile)?,
        flags: fields.count("flags", row)?,
    })
}

fn exemplar(fields: &Fields<'_>, row: usize) -> Result<Exemplar, EncodeError> {
    let value = match (fields.int64("value_int", row)?, fields.double("value", row)?) {
        (Some(int), _) => Some(exemplar::Value::AsInt(int)),
        (None, double) => double.map(exemplar::Value::AsDouble),
    };
    Ok(Exemplar {
        filtered_attributes: fields.attributes("attributes", row, true)?,
        time_unix_nano: fields.time("time", row)?,
        span_id: fields.id("span_id", row)?,
        trace_id: fields.id("trace_id", row)?,
        value,
    })
}
