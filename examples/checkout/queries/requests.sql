-- Each order that was sent, with the status that it was answered with: kind "request" of the truth, trace_id and status.
select trace_id, http_response_status_code as status
from spans
where service_name = 'checkout' and parent_span_id is null and http_route = '/checkout'
order by trace_id
