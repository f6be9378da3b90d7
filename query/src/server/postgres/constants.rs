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
const NOTHING: [&str; 9] = [
    "col_description",
    "obj_description",
    "shobj_description",
    "pg_get_indexdef",
    "pg_get_viewdef",
    "pg_get_ruledef",
    "pg_get_triggerdef",
    "pg_get_serial_sequence",
    "pg_tablespace_location",
];

/// Functions that answer yes.
const YES: [&str; 7] = [
    "has_column_privilege",
    "has_function_privilege",
    "has_sequence_privilege",
    "pg_function_is_visible",
    "pg_type_is_visible",
    "pg_opclass_is_visible",
    "pg_collation_is_visible",
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
        Kind::Setting,
        Kind::Arguments("pg_get_function_arguments", Arc::clone(listed)),
        Kind::Arguments("pg_get_function_identity_arguments", Arc::clone(listed)),
        Kind::Result(Arc::clone(listed)),
    ];
    kinds.extend(NOTHING.map(|name| Kind::Value(name, ScalarValue::Utf8(None))));
    kinds.extend(YES.map(|name| Kind::Value(name, ScalarValue::Boolean(Some(true)))));
    kinds.extend(NO.map(|name| Kind::Value(name, ScalarValue::Boolean(Some(false)))));
    kinds.into_iter().map(|kind| ScalarUDF::from(Constant::new(kind))).collect()
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum Kind {
    /// The same value for all arguments.
    Value(&'static str, ScalarValue),
    /// `current_setting(name [, missing_ok])`: what it is until it is set.
    Setting,
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
            Kind::Setting => "current_setting",
            Kind::Result(_) => "pg_get_function_result",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match &self.kind {
            Kind::Value(_, value) => value.data_type(),
            Kind::Setting | Kind::Arguments(..) | Kind::Result(_) => DataType::Utf8,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let first = args.args.first().map(|first| first.to_array(args.number_rows)).transpose()?;
        match (&self.kind, first) {
            (Kind::Value(_, value), _) => Ok(ColumnarValue::Scalar(value.clone())),
            (_, None) => Ok(ColumnarValue::Scalar(ScalarValue::Utf8(None))),
            (Kind::Setting, Some(names)) => {
                let settings = Settings::default();
                let names = cast(&names, &DataType::Utf8)?;
                let values = names.as_string::<i32>().iter().map(|name| Some(settings.show(name?)?.1));
                Ok(ColumnarValue::Array(Arc::new(values.collect::<StringArray>())))
            }
            (Kind::Arguments(_, listed), Some(oids)) => by_oid(&oids, listed, |function| function.arguments),
            (Kind::Result(listed), Some(oids)) => by_oid(&oids, listed, |function| function.result),
        }
    }
}

fn by_oid(oids: &ArrayRef, listed: &[Listed], tell: fn(&Listed) -> &'static str) -> Result<ColumnarValue> {
    let oids = cast(oids, &DataType::Int64)?;
    let texts = oids.as_primitive::<Int64Type>().iter().map(|oid| {
        let function = listed.iter().find(|function| Some(function.oid) == oid)?;
        Some(tell(function))
    });
    Ok(ColumnarValue::Array(Arc::new(texts.collect::<StringArray>())))
}
