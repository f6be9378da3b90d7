-- Each order that met a fault, by what failed where: trace_id and fault of the truth, fault not null.
select distinct trace_id,
  case
    when service_name = 'payments' and exception_type = '*payments.OverflowError' then 'decimal_overflow'
    when service_name = 'payments' and message = 'runtime error: integer divide by zero' then 'panic'
    when service_name = 'payments' and message like '%context %' then 'timeout'
    when service_name = 'inventory' and exception_type = 'sqlite3.OperationalError' then 'lock'
    when service_name = 'checkout' and exception_type = 'KeyError' then 'missing_field'
  end as fault
from failures
where trace_id is not null
  and (service_name, exception_type) not in (('worker', 'ValueError'))
  and not (service_name = 'checkout' and exception_type like '%InactiveRpcError')
  and not (service_name = 'payments' and exception_type = '*payments.InventoryError')
order by trace_id
