//! What each function of a session may do to memory and time: every one stands here, and a test fails for one that does
//! not, so that no release of DataFusion brings one that nobody has looked at.

use super::cost::Length::{
    Between, Formatted, Joined, Matched, Padded, Plain, Positions, Printed, Repeated, Replaced, Resized, Rewritten,
    Sum, Swapped, Times,
};
use super::cost::Work::{self, Items, Linear, Product, Regex, Search};
use super::cost::{Length, Rule};
use super::{concatenation, constant};

/// How long the values of a function become and how much work it takes, where either is not bounded by a small number of
/// times what goes in.
const BOUNDED: &[(&str, Length, Work)] = &[
    ("array_append", Sum(1), Linear),
    ("array_concat", Sum(1), Linear),
    ("array_has_all", Plain, Items),
    ("array_has_any", Plain, Items),
    ("array_positions", Positions, Linear),
    ("array_prepend", Sum(1), Linear),
    ("array_repeat", Times, Linear),
    ("array_replace", Swapped, Linear),
    ("array_replace_all", Swapped, Linear),
    ("array_replace_n", Swapped, Linear),
    ("array_resize", Resized, Linear),
    ("array_sort", Sum(2), Linear),
    ("array_to_string", Printed, Linear),
    ("array_union", Sum(1), Linear),
    ("arrays_zip", Sum(2), Linear),
    ("btrim", Plain, Product),
    ("concat", Sum(1), Linear),
    ("concat_ws", Joined, Linear),
    ("encode", Sum(2), Linear),
    ("find_in_set", Plain, Linear),
    ("generate_series", Between, Linear),
    ("hex", Sum(2), Linear),
    ("initcap", Sum(3), Linear),
    ("levenshtein", Plain, Product),
    ("lower", Sum(2), Linear),
    ("lpad", Padded, Linear),
    ("ltrim", Plain, Product),
    ("make_array", Sum(1), Linear),
    ("map", Sum(1), Linear),
    ("named_struct", Sum(1), Linear),
    ("overlay", Sum(1), Linear),
    ("range", Between, Linear),
    ("regexp_count", Plain, Regex),
    ("regexp_instr", Plain, Regex),
    ("regexp_like", Plain, Regex),
    ("regexp_match", Matched, Regex),
    ("regexp_replace", Rewritten, Regex),
    ("repeat", Repeated, Linear),
    ("replace", Replaced, Linear),
    ("rpad", Padded, Linear),
    ("rtrim", Plain, Product),
    ("string_to_array", Sum(9), Linear),
    ("strpos", Plain, Search),
    ("struct", Sum(1), Linear),
    ("to_char", Formatted, Linear),
    ("translate", Sum(4), Linear),
    ("upper", Sum(3), Linear),
    (concatenation::NAME, Sum(1), Linear),
    (constant::NAME, Sum(1), Linear),
];

/// Functions whose values are no longer than what goes in, or of a fixed length, after one look at each part of it.
#[cfg(test)]
const PLAIN: &[&str] = &[
    "abs",
    "acos",
    "acosh",
    "array_any_value",
    "array_compact",
    "array_dims",
    "array_distance",
    "array_distinct",
    "array_element",
    "array_empty",
    "array_except",
    "array_has",
    "array_intersect",
    "array_length",
    "array_max",
    "array_min",
    "array_ndims",
    "array_normalize",
    "array_pop_back",
    "array_pop_front",
    "array_position",
    "array_remove",
    "array_remove_all",
    "array_remove_n",
    "array_reverse",
    "array_slice",
    "arrow_cast",
    "arrow_field",
    "arrow_metadata",
    "arrow_try_cast",
    "arrow_typeof",
    "ascii",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "attr",
    "bit_length",
    "cardinality",
    "cast_to_type",
    "cbrt",
    "ceil",
    "character_length",
    "chr",
    "coalesce",
    "contains",
    "cos",
    "cosh",
    "cosine_distance",
    "cot",
    "current_date",
    "current_time",
    "date_bin",
    "date_part",
    "date_trunc",
    "decode",
    "degrees",
    "digest",
    "empty",
    "ends_with",
    "exp",
    "factorial",
    "flatten",
    "floor",
    "from_unixtime",
    "gcd",
    "get_field",
    "greatest",
    "inner_product",
    "isnan",
    "iszero",
    "json_get",
    "json_get_bool",
    "json_get_float",
    "json_get_int",
    "json_get_str",
    "json_text",
    "lcm",
    "least",
    "left",
    "ln",
    "log",
    "log10",
    "log2",
    "make_date",
    "make_time",
    "map_entries",
    "map_extract",
    "map_keys",
    "map_values",
    "md5",
    "nanvl",
    "now",
    "nullif",
    "nvl",
    "nvl2",
    "octet_length",
    "pi",
    "power",
    "radians",
    "random",
    "reverse",
    "right",
    "round",
    "sha224",
    "sha256",
    "sha384",
    "sha512",
    "signum",
    "sin",
    "sinh",
    "split_part",
    "sqrt",
    "starts_with",
    "substr",
    "substr_index",
    "substrindex",
    "tan",
    "tanh",
    "to_date",
    "to_hex",
    "to_local_time",
    "to_time",
    "to_timestamp",
    "to_timestamp_micros",
    "to_timestamp_millis",
    "to_timestamp_nanos",
    "to_timestamp_seconds",
    "to_unixtime",
    "trunc",
    "try_cast_to_type",
    "unhex",
    "union_extract",
    "union_tag",
    "uuid",
    "version",
    "with_metadata",
];

/// Aggregates that hold one value of each group, or none.
#[cfg(test)]
const FOLDING: &[&str] = &[
    "approx_distinct",
    "approx_median",
    "approx_percentile_cont",
    "approx_percentile_cont_with_weight",
    "avg",
    "bit_and",
    "bit_or",
    "bit_xor",
    "bool_and",
    "bool_or",
    "corr",
    "count",
    "covar_pop",
    "covar_samp",
    "first_value",
    "grouping",
    "last_value",
    "max",
    "min",
    "nth_value",
    "regr_avgx",
    "regr_avgy",
    "regr_count",
    "regr_intercept",
    "regr_r2",
    "regr_slope",
    "regr_sxx",
    "regr_sxy",
    "regr_syy",
    "stddev",
    "stddev_pop",
    "sum",
    "var",
    "var_pop",
];

/// Aggregates of numbers that hold all of a group's, and give one.
#[cfg(test)]
const HOLDING: &[&str] = &["median", "percentile_cont"];

/// Aggregates whose value is as long as their group. Their memory is counted, but over a window each row would have a
/// value of its own.
pub(super) const GATHERING: &[&str] = &["array_agg", "string_agg"];

/// The rule of a function that has one.
pub(super) fn rule(name: &str) -> Option<Rule> {
    let found = BOUNDED.iter().find(|(known, _, _)| *known == name);
    found.map(|(_, length, work)| Rule { length: *length, work: *work })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::tests::lake::TestLake;

    /// Every function of a session stands in one of the lists. One that does not came with a new release: look at what
    /// it writes and how often it looks at what, and put it where it belongs.
    #[tokio::test]
    async fn every_function_is_known() {
        let lake = TestLake::example(false, 100).await;
        let state = lake.session("acme").await.context().state();
        let scalars: BTreeSet<&str> = state.scalar_functions().values().map(|function| function.name()).collect();
        let unknown: Vec<_> = scalars.iter().filter(|name| rule(name).is_none() && !PLAIN.contains(name)).collect();
        assert!(unknown.is_empty(), "functions without a bound: {unknown:?}");
        let both: Vec<_> = PLAIN.iter().filter(|name| rule(name).is_some()).collect();
        assert!(both.is_empty(), "functions with two bounds: {both:?}");
        let aggregates: BTreeSet<&str> = state.aggregate_functions().values().map(|function| function.name()).collect();
        let known = [FOLDING, HOLDING, GATHERING].concat();
        let unknown: Vec<_> = aggregates.iter().filter(|name| !known.contains(name)).collect();
        assert!(unknown.is_empty(), "aggregates that nobody has looked at: {unknown:?}");
        assert!(state.higher_order_functions().is_empty(), "functions of lambdas write out columns for each item");
    }
}
