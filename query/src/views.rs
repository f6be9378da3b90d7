//! Views over the stored tables. Stored rows are events and never change; what looks like a change
//! (`valid_to`, an incident's counts) is computed here; the newest revision of a trace by [`crate::tables`].

/// A view: its name and its query over the base tables.
pub(crate) struct View {
    pub name: &'static str,
    pub query: &'static str,
    /// Of a view whose rows are incidents, to which columns are added: the same with a `model` that is null, for
    /// questions that do not ask for it. See [`crate::tables::IncidentsTable`].
    pub without_model: Option<&'static str>,
}

impl View {
    const fn new(name: &'static str, query: &'static str) -> Self {
        Self { name, query, without_model: None }
    }

    const fn of_incidents(name: &'static str, query: &'static str, without_model: &'static str) -> Self {
        Self { name, query, without_model: Some(without_model) }
    }
}

/// Incidents, but for what they appeared with and whether they came back: these stand as null here, and
/// [`crate::tables::IncidentsTable`] fills them in. A fingerprint that counts for another one is a part of that: what people
/// have merged, and what releases have mapped ([`crate::tables::TargetsTable`]). Rows from before schema 2 know no
/// echoes. The fix is the newest that was not found wrong or half a fix.
/// The model is given with what it is joined from.
macro_rules! incidents {
    () => {
        incidents!(
            "v.model",
            " left join (
               select fingerprint, max(model) as model from incident_vectors where kind = 'masked' group by fingerprint
             ) v on i.fingerprint = v.fingerprint"
        )
    };
    ($model:literal, $vectors:literal) => {
        concat!(
            "with fixed as (
           select fingerprint, fix_id, fixed_at from (
             select coalesce(r.target, e.fingerprint) as fingerprint, e.fix_id, e.fixed_at,
               row_number() over (partition by coalesce(r.target, e.fingerprint)
                 order by e.fixed_at desc, e.fix_id) as newest
             from fix_events e left join fingerprint_targets r on e.fingerprint = r.fingerprint
             where e.fixed_at is not null and (e.outcome is null or e.outcome = 'fixed')) where newest = 1
         )
         select i.tenant_id, i.fingerprint, i.title, i.service_name, i.exception_type, i.text, i.first_seen,
           i.last_seen, i.failure_count, i.echo_count, i.trace_count, i.versions, i.example_trace_ids, ",
            $model,
            " as model,
           i.fix_id, i.fixed_at,
           nullif(i.fixed_at, i.fixed_at) as regressed_at,
           arrow_cast(null, 'Utf8') as regressed_version,
           arrow_cast(null, 'Utf8') as kafka_topic, arrow_cast(null, 'Int32') as kafka_partition,
           arrow_cast(null, 'Int64') as kafka_offset, i.ingested_at
         from (
         select tenant_id, fingerprint,
           first_value(title order by own desc, ingested_at, first_seen) as title,
           first_value(service_name order by own desc, ingested_at, first_seen) as service_name,
           first_value(exception_type order by own desc, ingested_at, first_seen) as exception_type,
           first_value(text order by own desc, ingested_at, first_seen) as text,
           min(first_seen) as first_seen, max(last_seen) as last_seen,
           sum(failure_count) as failure_count, coalesce(sum(echo_count), 0) as echo_count,
           sum(trace_count) as trace_count,
           array_sort(array_distinct(flatten(array_agg(versions) filter (where versions is not null)))) as versions,
           array_slice(array_distinct(flatten(array_agg(example_trace_ids order by first_seen)
             filter (where example_trace_ids is not null))), 1, 10) as example_trace_ids,
           max(fix_id) as fix_id, max(fixed_at) as fixed_at,
           max(ingested_at) as ingested_at
         from (
           select c.tenant_id, coalesce(r.target, c.fingerprint) as fingerprint, r.target is null as own,
             c.title, c.service_name, c.exception_type, c.text, c.first_seen, c.last_seen, c.failure_count,
             c.echo_count, c.trace_count, c.versions, c.example_trace_ids, c.ingested_at, f.fix_id, f.fixed_at
           from incident_counts c left join fingerprint_targets r on c.fingerprint = r.fingerprint
             left join fixed f on coalesce(r.target, c.fingerprint) = f.fingerprint
         ) group by tenant_id, fingerprint
         ) i",
            $vectors
        )
    };
}

/// The same without a look at all vectors.
macro_rules! incidents_without_model {
    () => {
        incidents!("arrow_cast(null, 'Utf8')", "")
    };
}

/// Those of some incidents that are new. By the clock of who asks, not by the stream's: the question is what is new to
/// people.
macro_rules! new {
    ($($incidents:tt)*) => {
        concat!("select * from (", $($incidents)*, ") where first_seen >= now() - interval '24 hours'")
    };
}

/// The view of incidents that were first seen within a day.
pub(crate) const NEW_INCIDENTS: &str = "new_incidents";

/// Every view.
pub(crate) static VIEWS: [View; 8] = [
    // A change holds until the next change of the same key for the same service, instance and
    // environment. An evaluation tells of one moment: another may see another variant.
    View::new(
        "flags",
        "select tenant_id, kind, key, variant, value, service_name, service_instance_id,
                  deployment_environment_name, valid_from, valid_to, source, trace_id, span_id, reason,
                  provider_name, set_id, version, digest, kafka_topic, kafka_partition, kafka_offset, ingested_at
                from (
                  select *, lead(valid_from) over (
                      partition by kind, key, service_name, service_instance_id, deployment_environment_name
                      order by valid_from, kafka_topic, kafka_partition, kafka_offset) as valid_to
                    from flag_events where source is distinct from 'evaluation'
                  union all
                  select *, valid_from as valid_to from flag_events where source = 'evaluation'
                ) where variant is not null or value is not null or digest is not null",
    ),
    View::new(
        "builds",
        "select tenant_id, service_name, service_instance_id, deployment_environment_name, version, git_sha,
                  build_number, artifact, lockfile_digests, schema_migrations, valid_from, valid_to, source,
                  event_type, kafka_topic, kafka_partition, kafka_offset, ingested_at
                from (
                  select *, lead(valid_from) over (
                      partition by service_name, service_instance_id, deployment_environment_name
                      order by valid_from, kafka_topic, kafka_partition, kafka_offset) as valid_to
                    from build_events
                ) where removed is not true",
    ),
    // This view and those below have no origin, and as time of ingestion the nearest that they have to one.
    View::of_incidents("incidents", incidents!(), incidents_without_model!()),
    View::of_incidents(NEW_INCIDENTS, new!(incidents!()), new!(incidents_without_model!())),
    // Pinning appends a row, so the newest row of a bundle holds.
    View::new(
        "bundles",
        "select tenant_id, bundle_id, trace_id, revision, position, created_at, sealed, pinned, supersedes, bundle,
                  arrow_cast(null, 'Utf8') as kafka_topic, arrow_cast(null, 'Int32') as kafka_partition,
                  arrow_cast(null, 'Int64') as kafka_offset, created_at as ingested_at
                from (select *, row_number() over (partition by bundle_id order by created_at desc) as newest
                      from bundle_events) where newest = 1",
    ),
    View::new(
        "fixes",
        "select *, arrow_cast(null, 'Utf8') as kafka_topic, arrow_cast(null, 'Int32') as kafka_partition,
                  arrow_cast(null, 'Int64') as kafka_offset, fixed_at as ingested_at from fix_events",
    ),
    View::new(
        "grouping_rules",
        "select *, arrow_cast(null, 'Utf8') as kafka_topic, arrow_cast(null, 'Int32') as kafka_partition,
                  arrow_cast(null, 'Int64') as kafka_offset, created_at as ingested_at from grouping_rule_events",
    ),
    View::new(
        "audit",
        "select *, arrow_cast(null, 'Utf8') as kafka_topic, arrow_cast(null, 'Int32') as kafka_partition,
                  arrow_cast(null, 'Int64') as kafka_offset, audit_events.time as ingested_at from audit_events",
    ),
];
