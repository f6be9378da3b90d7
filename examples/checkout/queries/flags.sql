-- The flags of each trace as the services evaluated them: flags of the truth.
select trace_id, flag['key'] as key, flag['variant'] as variant
from (select trace_id, unnest(flags_in_effect) as flag from traces)
where flag['match'] = 'evaluated'
order by trace_id, key
