-- The payloads that were kept: amount of the truth where payload is true. Fields with personal data have no value here.
-- Distinct, for a payload may be there once more if its span was sent again later.
select distinct trace_id, span_id, json_get_str(sample, 'amount') as amount, sample, redactions
from payloads
order by trace_id
