-- The heaps, with the span that each was taken for and the line that holds most: kind "heap" of the truth.
select trace_id, span_id, service_instance_id, total_bytes, top_sites[1]['file'] as file, top_sites[1]['line'] as line
from heaps
order by captured_at
