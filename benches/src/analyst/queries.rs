//! What analysts ask: twelve questions, in SQL that tracerag and DuckDB both take.
//!
//! Each answer has a whole number `n` in every row, whose sum has to be the same on both sides. `{trace}` stands for a
//! trace id, another one each time.

/// A question.
#[derive(Debug, Clone, Copy)]
pub struct Question {
    /// What it is about.
    pub name: &'static str,
    /// As tracerag is asked.
    pub sql: &'static str,
    /// As DuckDB is asked, where it has another word for the same.
    pub for_duckdb: Option<&'static str>,
}

/// All of them.
pub const QUESTIONS: [Question; 12] = [
    Question {
        name: "point lookup by trace id",
        sql: "select span_id, name, service_name, duration_ns as n from spans where trace_id = '{trace}' \
              order by start_time, span_id",
        for_duckdb: None,
    },
    Question {
        name: "error rate by service and version",
        sql: "select date_trunc('hour', start_time) as since, service_name, service_version, count(*) as n, \
              count(*) filter (where status_code = 'ERROR') as errors \
              from spans where kind = 'SERVER' group by 1, 2, 3 order by 1, 2, 3",
        for_duckdb: None,
    },
    Question {
        name: "p99 by route",
        sql: "select service_name, http_route, count(*) as n, \
              approx_percentile_cont(0.99) within group (order by duration_ns) as p99 \
              from spans where kind = 'SERVER' and http_route is not null group by 1, 2 order by 1, 2",
        for_duckdb: Some(
            "select service_name, http_route, count(*) as n, approx_quantile(duration_ns, 0.99) as p99 \
             from spans where kind = 'SERVER' and http_route is not null group by 1, 2 order by 1, 2",
        ),
    },
    Question {
        name: "top failures by day",
        sql: "select date_trunc('day', time) as day, service_name, exception_type, count(distinct trace_id) as n \
              from failures where origin_id is null group by 1, 2, 3 \
              qualify row_number() over (partition by day order by n desc, service_name, exception_type) <= 5 \
              order by day desc, n desc, 2, 3",
        for_duckdb: None,
    },
    Question {
        name: "logs by full text",
        sql: "select service_name, count(*) as n, max(time) as last from logs \
              where body ilike '%database is locked%' group by 1 order by 1",
        for_duckdb: None,
    },
    Question {
        name: "join of spans with logs",
        sql: "select s.service_name, s.name, count(*) as n \
              from spans s join logs l on l.trace_id = s.trace_id and l.span_id = s.span_id \
              where l.severity_number >= 17 group by 1, 2 order by 3 desc, 1, 2",
        for_duckdb: None,
    },
    Question {
        name: "attribute filter",
        sql: "select http_route, count(*) as n, max(duration_ns) as longest from spans \
              where attributes['http.method'] = 'POST' group by 1 order by 1",
        for_duckdb: None,
    },
    Question {
        name: "error rate split by a flag",
        sql: "with in_effect as (select trace_id, unnest(flags_in_effect) as flag from traces) \
              select s.service_version, flag['variant'] as variant, count(*) as n, \
              count(*) filter (where s.status_code = 'ERROR') as errors \
              from in_effect join spans s on s.trace_id = in_effect.trace_id \
              and s.service_instance_id = flag['instance'] \
              where flag['key'] = 'payments.decimal_mode' and s.service_name = 'payments' and s.kind = 'SERVER' \
              group by 1, 2 order by 1, 2",
        for_duckdb: None,
    },
    Question {
        name: "heaviest self time",
        sql: "with children as (select trace_id, parent_span_id, sum(duration_ns) as inside from spans \
              where parent_span_id is not null group by 1, 2) \
              select s.service_name, s.name, count(*) as n, \
              cast(sum(greatest(s.duration_ns - coalesce(c.inside, 0), 0)) as bigint) as self_ns \
              from spans s left join children c on c.trace_id = s.trace_id and c.parent_span_id = s.span_id \
              group by 1, 2 order by self_ns desc, 1, 2 limit 20",
        for_duckdb: None,
    },
    Question {
        name: "traces by service path",
        sql: "select service_path, root_name, count(*) as n, avg(duration_ns) as mean_ns from traces \
              group by 1, 2 order by 3 desc, 1, 2",
        for_duckdb: None,
    },
    Question {
        name: "distinct users, hashed",
        sql: "select date_trunc('hour', start_time) as since, count(distinct attributes['user.id']) as n from spans \
              where attributes['user.id'] is not null group by 1 order by 1",
        for_duckdb: None,
    },
    Question {
        name: "exemplars",
        sql: "with points as (select service_name, unnest(exemplars) as e from metrics \
              where name = 'rpc.server.call.duration') \
              select p.service_name, t.status, count(*) as n, max(p.e['value']) as most \
              from points p join traces t on t.trace_id = p.e['trace_id'] group by 1, 2 order by 1, 2",
        for_duckdb: None,
    },
];
