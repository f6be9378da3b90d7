//! A gauge with a value for each partition that a process has.

use std::collections::BTreeSet;

use tracerag_schemas::SourcePartition;

/// The values of one gauge by topic and partition. One of a partition that the process no longer has is set to 0: the
/// recorder would keep the last value, and a sum over all processes would count the partition twice.
#[derive(Debug)]
pub(crate) struct PartitionGauge {
    name: &'static str,
    shown: BTreeSet<SourcePartition>,
}

impl PartitionGauge {
    /// A gauge of this name that tells of no partition yet.
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, shown: BTreeSet::new() }
    }

    /// Shows the partitions that there are now, and no others.
    pub(crate) fn show(&mut self, values: impl IntoIterator<Item = (SourcePartition, f64)>) {
        let mut gone = std::mem::take(&mut self.shown);
        for (source, value) in values {
            self.set(&source, value);
            gone.remove(&source);
            self.shown.insert(source);
        }
        for source in &gone {
            self.set(source, 0.0);
        }
    }

    fn set(&self, source: &SourcePartition, value: f64) {
        let labels = [("topic", source.topic.to_string()), ("partition", source.partition.to_string())];
        metrics::gauge!(self.name, &labels).set(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metrics_exporter_prometheus::PrometheusBuilder;

    /// Two partitions are shown, then one of them and another. Guarantees that what a process has lost counts for
    /// nothing in it, and that it may come back.
    #[test]
    fn a_partition_that_is_gone_counts_for_nothing() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        let partition = |number| SourcePartition { cluster: "c".into(), topic: "spans".into(), partition: number };
        let mut gauge = PartitionGauge::new("tracerag_lag_records");
        let mut shown = |values: &[(i32, f64)]| -> Vec<String> {
            metrics::with_local_recorder(&recorder, || {
                gauge.show(values.iter().map(|(number, value)| (partition(*number), *value)));
            });
            let text = handle.render();
            let mut lines: Vec<String> =
                text.lines().filter(|line| line.starts_with("tracerag_lag_records{")).map(str::to_owned).collect();
            lines.sort_unstable();
            lines
        };
        let line =
            |number: i32, value: i32| format!("tracerag_lag_records{{topic=\"spans\",partition=\"{number}\"}} {value}");
        assert_eq!(shown(&[(0, 5.0), (1, 7.0)]), [line(0, 5), line(1, 7)]);
        assert_eq!(shown(&[(1, 6.0), (2, 1.0)]), [line(0, 0), line(1, 6), line(2, 1)]);
        assert_eq!(shown(&[(0, 4.0)]), [line(0, 4), line(1, 0), line(2, 0)]);
    }
}
