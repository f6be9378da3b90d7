-- The jobs with the orders that they belong to, over the links of their spans: kind "job" of the truth.
select trace_id as job_trace_id, span_id as job_span_id, link['trace_id'] as order_trace_id, link['span_id'] as order_span_id,
  case when status_code = 'ERROR' then 'failed' else 'done' end as outcome
from (select trace_id, span_id, status_code, unnest(links) as link from spans where service_name = 'worker' and name = 'process invoices')
order by job_span_id
