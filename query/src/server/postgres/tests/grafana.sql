SELECT
CASE WHEN
quote_ident(table_schema) IN (
SELECT
CASE WHEN trim(s[i]) = '"$user"' THEN user ELSE trim(s[i]) END
FROM
generate_series(
array_lower(string_to_array(current_setting('search_path'),','),1),
array_upper(string_to_array(current_setting('search_path'),','),1)
) as i,
string_to_array(current_setting('search_path'),',') s
)
THEN quote_ident(table_name)
ELSE quote_ident(table_schema) || '.' || quote_ident(table_name)
END AS "table"
FROM information_schema.tables
WHERE quote_ident(table_schema) NOT IN ('information_schema',
'pg_catalog',
'_timescaledb_cache',
'_timescaledb_catalog',
'_timescaledb_internal',
'_timescaledb_config',
'timescaledb_information',
'timescaledb_experimental')
ORDER BY CASE WHEN
quote_ident(table_schema) IN (
SELECT
CASE WHEN trim(s[i]) = '"$user"' THEN user ELSE trim(s[i]) END
FROM
generate_series(
array_lower(string_to_array(current_setting('search_path'),','),1),
array_upper(string_to_array(current_setting('search_path'),','),1)
) as i,
string_to_array(current_setting('search_path'),',') s
) THEN 0 ELSE 1 END, 1
;
SELECT quote_ident(column_name) AS "column", data_type AS "type"
FROM information_schema.columns
WHERE
CASE WHEN array_length(parse_ident('public.spans'),1) = 2
THEN quote_ident(table_schema) = (parse_ident('public.spans'))[1]
AND quote_ident(table_name) = (parse_ident('public.spans'))[2]
ELSE quote_ident(table_name) = 'public.spans'
AND
quote_ident(table_schema) IN (
SELECT
CASE WHEN trim(s[i]) = '"$user"' THEN user ELSE trim(s[i]) END
FROM
generate_series(
array_lower(string_to_array(current_setting('search_path'),','),1),
array_upper(string_to_array(current_setting('search_path'),','),1)
) as i,
string_to_array(current_setting('search_path'),',') s
)
END
;
SELECT floor(extract(epoch from start_time)/300)*300 AS "time", service_name AS metric, count(*) AS value
FROM spans
WHERE start_time BETWEEN '2026-11-16T12:00:00Z' AND '2026-11-16T13:00:00Z'
GROUP BY 1, 2
ORDER BY 1
;
SELECT start_time AS "time", duration_ns / 1e6 AS value FROM spans
WHERE start_time BETWEEN '2026-11-16T12:00:00.123Z' AND '2026-11-16T13:00:00.456Z' ORDER BY 1 ASC LIMIT 50
;
SELECT extract(epoch from start_time) AS "time", name FROM spans WHERE extract(epoch from start_time) >= 1794830400 AND extract(epoch from start_time) <= 1794834000 LIMIT 50
;
SELECT floor((duration_ns)/60)*60 AS "time", avg(duration_ns) FROM spans GROUP BY 1 ORDER BY 1
;
SELECT count(*) FROM traces WHERE start_time >= '2026-11-16T12:00:00Z' AND start_time <= '2026-11-16T13:00:00Z'
;
