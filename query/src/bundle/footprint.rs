//! Where and when the trace ran: what has no ids is joined by service, instance and time.

use std::collections::{HashMap, HashSet};

/// Services of the trace, with their instances and the time in which their spans ran.
#[derive(Debug, Default)]
pub(crate) struct Footprint {
    services: HashMap<String, Service>,
    spans: HashSet<String>,
}

#[derive(Debug)]
struct Service {
    instances: HashSet<String>,
    from: i64,
    to: i64,
}

impl Footprint {
    pub(crate) fn add(&mut self, span_id: &str, service: Option<&str>, instance: Option<&str>, from: i64, to: i64) {
        self.spans.insert(span_id.to_owned());
        let Some(service) = service else { return };
        let known =
            self.services.entry(service.to_owned()).or_insert_with(|| Service { instances: HashSet::new(), from, to });
        known.from = known.from.min(from);
        known.to = known.to.max(to);
        if let Some(instance) = instance {
            known.instances.insert(instance.to_owned());
        }
    }

    /// Whether the trace has the span.
    pub(super) fn has_span(&self, span_id: &str) -> bool {
        self.spans.contains(span_id)
    }

    /// Whether the trace ran on this very instance of the service.
    pub(super) fn on_instance(&self, service: &str, instance: &str) -> bool {
        self.services.get(service).is_some_and(|known| known.instances.contains(instance))
    }

    /// Whether something of a service and instance at a time may belong to the trace. Who names no
    /// instance, or has spans without one, is taken at the service's word. `slack` widens the time, in ns.
    pub(crate) fn covers(&self, service: Option<&str>, instance: Option<&str>, time: i64, slack: i64) -> bool {
        let Some(known) = service.and_then(|service| self.services.get(service)) else { return false };
        let here = instance.is_none_or(|instance| known.instances.is_empty() || known.instances.contains(instance));
        here && time >= known.from.saturating_sub(slack) && time <= known.to.saturating_add(slack)
    }
}
