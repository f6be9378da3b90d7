//! Where something ran: the instance of a service, a container, or a pod.
//!
//! Telemetry of a process names its service and instance. What a kubelet or a container runtime tells names the container
//! or the pod, and no service. Resources of spans often have both, so they say which is which. A point that names a service
//! is of that process, also where it says in which pod this ran: other processes of the pod, such as a proxy, tell of
//! themselves.

/// A place that metrics are of and that spans ran on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Place {
    Instance {
        service: String,
        instance: String,
    },
    /// By its own id.
    Container(String),
    /// A container by its name in a pod.
    InPod {
        pod: String,
        container: String,
    },
    /// By its own id, or by its namespace and name.
    Pod(String),
}

/// What the attributes of a resource say of containers and pods.
#[derive(Default)]
struct Named<'a> {
    container_id: Option<&'a str>,
    container_name: Option<&'a str>,
    pod_uid: Option<&'a str>,
    pod_name: Option<&'a str>,
    namespace: Option<&'a str>,
}

impl<'a> Named<'a> {
    fn of(attributes: impl Iterator<Item = (&'a str, Option<&'a str>)>) -> Self {
        let mut named = Self::default();
        for (key, value) in attributes {
            let place = match key {
                "container.id" => &mut named.container_id,
                "k8s.container.name" => &mut named.container_name,
                "k8s.pod.uid" => &mut named.pod_uid,
                "k8s.pod.name" => &mut named.pod_name,
                "k8s.namespace.name" => &mut named.namespace,
                _ => continue,
            };
            *place = value.filter(|value| !value.is_empty());
        }
        named
    }

    /// The pod as it may be named: by its id, and by its namespace and name.
    fn pods(&self) -> impl Iterator<Item = String> {
        let by_name = self.namespace.zip(self.pod_name).map(|(namespace, name)| format!("{namespace}/{name}"));
        self.pod_uid.map(str::to_owned).into_iter().chain(by_name)
    }
}

impl Place {
    /// All places that a span ran on.
    pub(super) fn all<'a>(
        service: Option<&str>,
        instance: Option<&str>,
        attributes: impl Iterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Vec<Self> {
        let named = Named::of(attributes);
        let mut places: Vec<Self> = Self::instance(service, instance).into_iter().collect();
        places.extend(Self::containers(&named));
        places.extend(named.pods().map(Self::Pod));
        places
    }

    /// The places that a point of a metric speaks of. What is told of one container is not told of its pod, and what a
    /// process tells of itself of neither.
    pub(super) fn told<'a>(
        service: Option<&str>,
        instance: Option<&str>,
        attributes: impl Iterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Vec<Self> {
        if service.is_some() || instance.is_some() {
            return Self::instance(service, instance).into_iter().collect();
        }
        let named = Named::of(attributes);
        let places = Self::containers(&named);
        match places.is_empty() && named.container_name.is_none() {
            true => named.pods().map(Self::Pod).collect(),
            false => places,
        }
    }

    fn instance(service: Option<&str>, instance: Option<&str>) -> Option<Self> {
        let (service, instance) = service.zip(instance)?;
        Some(Self::Instance { service: service.to_owned(), instance: instance.to_owned() })
    }

    /// The container, by its id and by its name in the pod.
    fn containers(named: &Named<'_>) -> Vec<Self> {
        let by_id = named.container_id.map(|id| Self::Container(id.to_owned()));
        let in_pod = named
            .container_name
            .into_iter()
            .flat_map(|container| named.pods().map(move |pod| Self::InPod { pod, container: container.to_owned() }));
        by_id.into_iter().chain(in_pod).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meet(span: &[(&str, &str)], metric: &[(&str, &str)]) -> bool {
        let all = Place::all(Some("payments"), None, span.iter().map(|(key, value)| (*key, Some(*value))));
        let told = Place::told(None, None, metric.iter().map(|(key, value)| (*key, Some(*value))));
        told.iter().any(|place| all.contains(place))
    }

    /// A span and a metric meet by the id of the container, by its name in the pod, or by the pod, however that is named;
    /// a metric of another container of the same pod does not meet it, nor a pod of that name in another namespace.
    #[test]
    fn spans_and_metrics_meet_where_both_ran() {
        let pod = [("k8s.pod.uid", "u1"), ("k8s.pod.name", "p"), ("k8s.namespace.name", "shop")];
        let span = [&pod[..], &[("container.id", "c1"), ("k8s.container.name", "app")]].concat();
        assert!(meet(&span, &[("container.id", "c1")]));
        assert!(meet(&span, &[("k8s.pod.uid", "u1")]) && meet(&span, &pod[1..]));
        assert!(meet(&span, &[("k8s.pod.uid", "u1"), ("k8s.container.name", "app")]));
        assert!(!meet(&span, &[("k8s.pod.uid", "u1"), ("k8s.container.name", "proxy")]));
        assert!(!meet(&span, &[("k8s.pod.uid", "u1"), ("container.id", "c2")]));
        assert!(!meet(&span, &[("k8s.pod.name", "p"), ("k8s.namespace.name", "other")]));
        assert!(!meet(&span, &[("k8s.pod.name", "p")]) && !meet(&[], &[]));
    }

    /// A sidecar tells of its own memory, and its resource has the pod that the span ran in. Guarantees that only the
    /// service and the instance of a point that has one of them say where it belongs.
    #[test]
    fn a_process_tells_of_itself_alone() {
        let pod = || [("k8s.pod.uid", Some("u1")), ("container.id", Some("c1"))].into_iter();
        let span = Place::all(Some("payments"), Some("payments-1"), pod());
        let meets = |service: Option<&str>, instance: Option<&str>| {
            Place::told(service, instance, pod()).iter().any(|place| span.contains(place))
        };
        assert!(meets(Some("payments"), Some("payments-1")) && meets(None, None));
        for (service, instance) in [
            (Some("proxy"), Some("proxy-1")),
            (Some("proxy"), None),
            (None, Some("payments-1")),
            (Some("payments"), None),
        ] {
            assert!(!meets(service, instance), "{service:?} {instance:?}");
        }
    }
}
