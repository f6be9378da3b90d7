//! Functions of PostgreSQL that tools call and that have one answer here, or one for each function of ours.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

use super::settings::{Settings, VERSION};

/// Functions that answer nothing, in text.
const NOTHING: [&str; 11] = [
    "col_description",
    "obj_description",
    "shobj_description",
    "pg_get_functiondef",
    "pg_get_function_sqlbody",
    "pg_get_indexdef",
    "pg_get_viewdef",
    "pg_get_ruledef",
    "pg_get_triggerdef",
    "pg_get_serial_sequence",
    "pg_tablespace_location",
];

/// Functions that answer no number: bytes of tables, which `tracerag status` counts, for the lake has them in no table.
const NO_NUMBER: [&str; 4] = ["pg_table_size", "pg_indexes_size", "pg_database_size", "pg_tablespace_size"];

/// Functions that answer yes.
const YES: [&str; 12] = [
    "has_column_privilege",
    "has_function_privilege",
    "has_sequence_privilege",
    "pg_function_is_visible",
    "pg_type_is_visible",
    "pg_opclass_is_visible",
    "pg_collation_is_visible",
    "pg_conversion_is_visible",
    "pg_operator_is_visible",
    "pg_ts_config_is_visible",
    "pg_ts_dict_is_visible",
    "pg_ts_parser_is_visible",
];

/// Functions that answer no.
const NO: [&str; 3] = ["pg_is_in_recovery", "pg_is_other_temp_schema", "pg_relation_is_updatable"];

/// A function of ours, as `\df` lists it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Listed {
    pub(super) oid: i64,
    pub(super) name: &'static str,
    pub(super) arguments: &'static str,
    pub(super) result: &'static str,
    pub(super) is_table: bool,
}

/// All of them, for a catalog with these functions of ours.
pub(super) fn all(listed: &Arc<[Listed]>) -> Vec<ScalarUDF> {
    let version = format!("PostgreSQL {VERSION} (tracerag {})", env!("CARGO_PKG_VERSION"));
    let mut kinds = vec![
        Kind::Value("version", ScalarValue::from(version)),
        Kind::Value("pg_my_temp_schema", ScalarValue::Int32(Some(0))),
        Kind::Value("txid_current", ScalarValue::Int64(Some(1))),
        // Tools look for types of extensions by it, of which there are none.
        Kind::Value("to_regtype", ScalarValue::Int32(None)),
        // The number of UTF-8.
        Kind::Value("pg_char_to_encoding", ScalarValue::Int32(Some(6))),
        Kind::Size,
        Kind::Arguments("pg_get_function_arguments", Arc::clone(listed)),
        Kind::Arguments("pg_get_function_identity_arguments", Arc::clone(listed)),
        Kind::Result(Arc::clone(listed)),
    ];
    kinds.extend(NOTHING.map(|name| Kind::Value(name, ScalarValue::Utf8(None))));
    kinds.extend(NO_NUMBER.map(|name| Kind::Value(name, ScalarValue::Int64(None))));
    kinds.extend(YES.map(|name| Kind::Value(name, ScalarValue::Boolean(Some(true)))));
    kinds.extend(NO.map(|name| Kind::Value(name, ScalarValue::Boolean(Some(false)))));
    kinds.into_iter().map(|kind| ScalarUDF::from(Constant::new(kind))).collect()
}

/// The settings of a connection, as a function tells them.
pub(super) fn settings(settings: &Settings) -> ScalarUDF {
    ScalarUDF::from(Constant::new(Kind::Setting(settings.all().collect())))
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum Kind {
    /// The same value for all arguments.
    Value(&'static str, ScalarValue),
    /// `current_setting(name [, missing_ok])`, among all that there are.
    Setting(Vec<(&'static str, String)>),
    /// `pg_size_pretty(bytes)`.
    Size,
    /// The arguments of a function of ours, by its oid.
    Arguments(&'static str, Arc<[Listed]>),
    /// Its result.
    Result(Arc<[Listed]>),
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Constant {
    kind: Kind,
    signature: Signature,
}

impl Constant {
    fn new(kind: Kind) -> Self {
        let any = TypeSignature::OneOf(vec![TypeSignature::Nullary, TypeSignature::VariadicAny]);
        Self { kind, signature: Signature::new(any, Volatility::Stable) }
    }
}

impl ScalarUDFImpl for Constant {
    fn name(&self) -> &str {
        match &self.kind {
            Kind::Value(name, _) | Kind::Arguments(name, _) => name,
            Kind::Setting(_) => "current_setting",
            Kind::Size => "pg_size_pretty",
            Kind::Result(_) => "pg_get_function_result",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match &self.kind {
            Kind::Value(_, value) => value.data_type(),
            Kind::Setting(_) | Kind::Size | Kind::Arguments(..) | Kind::Result(_) => DataType::Utf8,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let first = args.args.first().map(|first| first.to_array(args.number_rows)).transpose()?;
        match (&self.kind, first) {
            (Kind::Value(_, value), _) => Ok(ColumnarValue::Scalar(value.clone())),
            (_, None) => Ok(ColumnarValue::Scalar(ScalarValue::Utf8(None))),
            (Kind::Setting(all), Some(names)) => {
                let names = cast(&names, &DataType::Utf8)?;
                let values = names.as_string::<i32>().iter().map(|name| {
                    let name = name?;
                    all.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
                });
                Ok(ColumnarValue::Array(Arc::new(values.collect::<StringArray>())))
            }
            (Kind::Size, Some(bytes)) => {
                let bytes = cast(&bytes, &DataType::Int64)?;
                let sizes = bytes.as_primitive::<Int64Type>().iter().map(|bytes| bytes.map(size));
                Ok(ColumnarValue::Array(Arc::new(sizes.collect::<StringArray>())))
            }
            (Kind::Arguments(_, listed), Some(oids)) => by_oid(&oids, listed, |function| function.arguments),
            (Kind::Result(listed), Some(oids)) => by_oid(&oids, listed, |function| function.result),
        }
    }
}

/// Bytes in a unit in which they are fewer than 10,240, rounded, as section 9.28.7 of PostgreSQL's documentation ("Database
/// Object Management Functions") shows them.
fn size(bytes: i64) -> String {
    let (mut shown, mut unit) = (i128::from(bytes), "bytes");
    for larger in ["kB", "MB", "GB", "TB", "PB"] {
        if shown.abs() < 10 * 1024 {
            break;
        }
        (shown, unit) = ((shown + shown.signum() * 512) / 1024, larger);
    }
    format!("{shown} {unit}")
}

fn by_oid(oids: &ArrayRef, listed: &[Listed], tell: fn(&Listed) -> &'static str) -> Result<ColumnarValue> {
    let oids = cast(oids, &DataType::Int64)?;
    let texts = oids.as_primitive::<Int64Type>().iter().map(|oid| {
        let function = listed.iter().find(|function| Some(function.oid) == oid)?;
        Some(tell(function))
    });
    Ok(ColumnarValue::Array(Arc::new(texts.collect::<StringArray>())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sizes are those that PostgreSQL 16 shows.
    #[test]
    fn sizes_are_shown_as_postgres_does() {
        for (bytes, shown) in [
            (0, "0 bytes"),
            (10_239, "10239 bytes"),
            (10_240, "10 kB"),
            (-10_240, "-10 kB"),
            (1_048_576, "1024 kB"),
            (10_485_760, "10 MB"),
            (123_456_789_012, "115 GB"),
        ] {
            assert_eq!(size(bytes), shown);
        }
    }
}
