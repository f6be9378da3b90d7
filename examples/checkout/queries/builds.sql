-- The builds of each trace as the telemetry states them: builds and instances of the truth.
select trace_id, build['service'] as service, build['version'] as version, build['instance'] as instance
from (select trace_id, unnest(builds_in_effect) as build from traces)
where build['match'] = 'stated'
order by trace_id, service
