//! The types of SQL as ODBC and JDBC know them (`getTypeInfo`).

use arrow::record_batch::RecordBatch;
use arrow_flight::error::Result;
use arrow_flight::sql::metadata::{XdbcTypeInfo, XdbcTypeInfoDataBuilder};
use arrow_flight::sql::{Nullable, Searchable, XdbcDataType, XdbcDatetimeSubcode};

/// All types, or those of one number.
///
/// # Errors
/// When Arrow cannot make the rows.
pub(super) fn rows(data_type: Option<i32>) -> Result<RecordBatch> {
    let mut types = XdbcTypeInfoDataBuilder::new();
    let all = numbers().into_iter().chain(texts()).chain(times());
    all.for_each(|info| types.append(info));
    types.build()?.record_batch(data_type)
}

/// Numbers; their sizes are in bits, but for decimals.
fn numbers() -> Vec<XdbcTypeInfo> {
    let binary = |name, data_type, bits| XdbcTypeInfo {
        column_size: Some(bits),
        num_prec_radix: Some(2),
        unsigned_attribute: Some(false),
        auto_increment: Some(false),
        ..named(name, data_type)
    };
    vec![
        named("BOOLEAN", XdbcDataType::XdbcBit),
        binary("TINYINT", XdbcDataType::XdbcTinyint, 8),
        binary("SMALLINT", XdbcDataType::XdbcSmallint, 16),
        binary("INTEGER", XdbcDataType::XdbcInteger, 32),
        binary("BIGINT", XdbcDataType::XdbcBigint, 64),
        binary("REAL", XdbcDataType::XdbcReal, 24),
        binary("DOUBLE", XdbcDataType::XdbcDouble, 53),
        XdbcTypeInfo {
            create_params: Some(vec![String::from("precision"), String::from("scale")]),
            num_prec_radix: Some(10),
            minimum_scale: Some(0),
            maximum_scale: Some(38),
            ..binary("DECIMAL", XdbcDataType::XdbcDecimal, 38)
        },
    ]
}

fn texts() -> Vec<XdbcTypeInfo> {
    let quoted = |name, data_type, prefix: &str| XdbcTypeInfo {
        literal_prefix: Some(prefix.to_owned()),
        literal_suffix: Some(String::from("'")),
        case_sensitive: true,
        ..named(name, data_type)
    };
    vec![
        quoted("VARCHAR", XdbcDataType::XdbcVarchar, "'"),
        XdbcTypeInfo { searchable: Searchable::Basic, ..quoted("VARBINARY", XdbcDataType::XdbcVarbinary, "X'") },
    ]
}

/// Times; what is fractional has nine digits.
fn times() -> Vec<XdbcTypeInfo> {
    let time = |name: &str, data_type, subcode, size, digits| XdbcTypeInfo {
        literal_prefix: Some(format!("{name} '")),
        literal_suffix: Some(String::from("'")),
        column_size: Some(size),
        minimum_scale: Some(0),
        maximum_scale: Some(digits),
        sql_data_type: XdbcDataType::XdbcDatetime,
        datetime_subcode: Some(subcode),
        ..named(name, data_type)
    };
    vec![
        // ODBC has the same number for a date and for a year.
        time("DATE", XdbcDataType::XdbcDate, XdbcDatetimeSubcode::XdbcSubcodeYear, 10, 0),
        time("TIME", XdbcDataType::XdbcTime, XdbcDatetimeSubcode::XdbcSubcodeTime, 18, 9),
        time("TIMESTAMP", XdbcDataType::XdbcTimestamp, XdbcDatetimeSubcode::XdbcSubcodeTimestamp, 29, 9),
        XdbcTypeInfo {
            literal_prefix: Some(String::from("INTERVAL '")),
            literal_suffix: Some(String::from("'")),
            ..named("INTERVAL", XdbcDataType::XdbcInterval)
        },
    ]
}

fn named(name: &str, data_type: XdbcDataType) -> XdbcTypeInfo {
    XdbcTypeInfo {
        type_name: name.to_owned(),
        local_type_name: Some(name.to_owned()),
        data_type,
        sql_data_type: data_type,
        nullable: Nullable::NullabilityNullable,
        searchable: Searchable::Full,
        ..XdbcTypeInfo::default()
    }
}
