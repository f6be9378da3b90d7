-- Spans and log records that are in the lake more than once: none, though some were sent twice.
select 'span' as what, span_id as id from spans group by trace_id, span_id having count(*) > 1
union all
select 'log' as what, hex(record_hash) as id from logs group by record_hash having count(*) > 1
