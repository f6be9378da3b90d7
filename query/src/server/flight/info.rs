//! What this server is and which SQL it speaks (`GetSqlInfo`). JDBC answers its whole `DatabaseMetaData` from this, and
//! fails where something is not told, so everything is.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use arrow_flight::error::Result;
use arrow_flight::sql::metadata::SqlInfoDataBuilder;
use arrow_flight::sql::{
    CommandGetSqlInfo, SqlInfo, SqlNullOrdering, SqlOuterJoinsSupportLevel, SqlSupportedCaseSensitivity,
    SqlSupportedGroupBy, SqlSupportedResultSetConcurrency, SqlSupportedResultSetType, SqlSupportedSubqueries,
    SqlSupportedTransaction, SqlSupportedUnions, SqlSupportsConvert, SqlTransactionIsolationLevel, SupportedSqlGrammar,
};
use datafusion::functions::{datetime, math, string, unicode};
use datafusion::logical_expr::ScalarUDF;

use super::STATEMENTS_LAST;

/// The parts that a client wants to know; all, if it names none.
///
/// # Errors
/// When Arrow cannot make the rows.
pub(super) fn rows(wanted: CommandGetSqlInfo) -> Result<RecordBatch> {
    let mut infos = SqlInfoDataBuilder::new();
    server(&mut infos);
    language(&mut infos);
    functions(&mut infos);
    sizes(&mut infos);
    changes(&mut infos);
    infos.build()?.record_batch(wanted.info)
}

/// A set of enumerators as the protocol has it: the bit of each.
fn bits<const N: usize>(enumerators: [i32; N]) -> i32 {
    enumerators.into_iter().fold(0, |bits, enumerator| bits | (1 << enumerator))
}

fn server(infos: &mut SqlInfoDataBuilder) {
    infos.append(SqlInfo::FlightSqlServerName, "tracerag");
    infos.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    infos.append(SqlInfo::FlightSqlServerArrowVersion, arrow::ARROW_VERSION);
    infos.append(SqlInfo::FlightSqlServerReadOnly, true);
    infos.append(SqlInfo::FlightSqlServerSql, true);
    infos.append(SqlInfo::FlightSqlServerSubstrait, false);
    infos.append(SqlInfo::FlightSqlServerTransaction, SqlSupportedTransaction::None as i32);
    infos.append(SqlInfo::FlightSqlServerCancel, true);
    infos.append(SqlInfo::FlightSqlServerBulkIngestion, false);
    infos.append(SqlInfo::FlightSqlServerIngestTransactionsSupported, false);
    let milliseconds = i32::try_from(STATEMENTS_LAST.as_millis()).unwrap_or(i32::MAX);
    infos.append(SqlInfo::FlightSqlServerStatementTimeout, milliseconds);
    infos.append(SqlInfo::FlightSqlServerTransactionTimeout, 0_i32);
}

fn language(infos: &mut SqlInfoDataBuilder) {
    infos.append(SqlInfo::SqlIdentifierCase, SqlSupportedCaseSensitivity::SqlCaseSensitivityLowercase as i32);
    infos.append(SqlInfo::SqlIdentifierQuoteChar, "\"");
    // Of these four none says that quoted names keep their case, as they do; unknown is the least wrong.
    infos.append(SqlInfo::SqlQuotedIdentifierCase, SqlSupportedCaseSensitivity::SqlCaseSensitivityUnknown as i32);
    infos.append(SqlInfo::SqlAllTablesAreSelectable, true);
    infos.append(SqlInfo::SqlNullOrdering, SqlNullOrdering::SqlNullsSortedHigh as i32);
    infos.append(SqlInfo::SqlSearchStringEscape, "\\");
    infos.append(SqlInfo::SqlExtraNameCharacters, "");
    infos.append(SqlInfo::SqlSupportsColumnAliasing, true);
    infos.append(SqlInfo::SqlNullPlusNullIsNull, true);
    infos.append(SqlInfo::SqlSupportsConvert, conversions());
    infos.append(SqlInfo::SqlSupportsTableCorrelationNames, true);
    infos.append(SqlInfo::SqlSupportsDifferentTableCorrelationNames, false);
    infos.append(SqlInfo::SqlSupportsExpressionsInOrderBy, true);
    infos.append(SqlInfo::SqlSupportsOrderByUnrelated, true);
    let group_by =
        [SqlSupportedGroupBy::SqlGroupByUnrelated as i32, SqlSupportedGroupBy::SqlGroupByBeyondSelect as i32];
    infos.append(SqlInfo::SqlSupportedGroupBy, bits(group_by));
    infos.append(SqlInfo::SqlSupportsLikeEscapeClause, true);
    infos.append(SqlInfo::SqlSupportsNonNullableColumns, true);
    let grammar = [SupportedSqlGrammar::SqlMinimumGrammar as i32, SupportedSqlGrammar::SqlCoreGrammar as i32];
    infos.append(SqlInfo::SqlSupportedGrammar, bits(grammar));
    // Entry level: the first bit.
    infos.append(SqlInfo::SqlAnsi92SupportedLevel, bits([0]));
    infos.append(SqlInfo::SqlSupportsIntegrityEnhancementFacility, false);
    infos.append(SqlInfo::SqlOuterJoinsSupportLevel, SqlOuterJoinsSupportLevel::SqlFullOuterJoins as i32);
    infos.append(SqlInfo::SqlSchemaTerm, "schema");
    infos.append(SqlInfo::SqlProcedureTerm, "procedure");
    infos.append(SqlInfo::SqlCatalogTerm, "catalog");
    infos.append(SqlInfo::SqlCatalogAtStart, true);
    infos.append(SqlInfo::SqlSelectForUpdateSupported, false);
    infos.append(SqlInfo::SqlStoredProceduresSupported, false);
    let subqueries = [
        SqlSupportedSubqueries::SqlSubqueriesInComparisons as i32,
        SqlSupportedSubqueries::SqlSubqueriesInExists as i32,
        SqlSupportedSubqueries::SqlSubqueriesInIns as i32,
        SqlSupportedSubqueries::SqlSubqueriesInQuantifieds as i32,
    ];
    infos.append(SqlInfo::SqlSupportedSubqueries, bits(subqueries));
    infos.append(SqlInfo::SqlCorrelatedSubqueriesSupported, true);
    let unions = [SqlSupportedUnions::SqlUnion as i32, SqlSupportedUnions::SqlUnionAll as i32];
    infos.append(SqlInfo::SqlSupportedUnions, bits(unions));
    infos.append(SqlInfo::SqlNamedParametersSupported, true);
}

/// A text can be cast to everything, and everything to a text.
fn conversions() -> BTreeMap<i32, Vec<i32>> {
    let text = SqlSupportsConvert::SqlConvertVarchar as i32;
    let others = [
        SqlSupportsConvert::SqlConvertBigint as i32,
        SqlSupportsConvert::SqlConvertBit as i32,
        SqlSupportsConvert::SqlConvertDate as i32,
        SqlSupportsConvert::SqlConvertDecimal as i32,
        SqlSupportsConvert::SqlConvertFloat as i32,
        SqlSupportsConvert::SqlConvertInteger as i32,
        SqlSupportsConvert::SqlConvertReal as i32,
        SqlSupportsConvert::SqlConvertSmallint as i32,
        SqlSupportsConvert::SqlConvertTime as i32,
        SqlSupportsConvert::SqlConvertTimestamp as i32,
        SqlSupportsConvert::SqlConvertTinyint as i32,
    ];
    others.into_iter().map(|other| (other, vec![text])).chain([(text, others.to_vec())]).collect()
}

fn functions(infos: &mut SqlInfoDataBuilder) {
    let names = |functions: Vec<Arc<ScalarUDF>>| -> Vec<String> {
        functions.iter().map(|function| function.name().to_owned()).collect()
    };
    infos.append(SqlInfo::SqlKeywords, Vec::<String>::new());
    infos.append(SqlInfo::SqlNumericFunctions, names(math::functions()));
    let mut texts = names(string::functions());
    texts.extend(names(unicode::functions()));
    infos.append(SqlInfo::SqlStringFunctions, texts);
    infos.append(SqlInfo::SqlSystemFunctions, Vec::<String>::new());
    infos.append(SqlInfo::SqlDatetimeFunctions, names(datetime::functions()));
}

/// Zero says that there is no limit that a client could keep to: what a query may take is in the server's configuration.
fn sizes(infos: &mut SqlInfoDataBuilder) {
    for size in [
        SqlInfo::SqlMaxBinaryLiteralLength,
        SqlInfo::SqlMaxCharLiteralLength,
        SqlInfo::SqlMaxColumnNameLength,
        SqlInfo::SqlMaxColumnsInGroupBy,
        SqlInfo::SqlMaxColumnsInIndex,
        SqlInfo::SqlMaxColumnsInOrderBy,
        SqlInfo::SqlMaxColumnsInSelect,
        SqlInfo::SqlMaxColumnsInTable,
        SqlInfo::SqlMaxConnections,
        SqlInfo::SqlMaxCursorNameLength,
        SqlInfo::SqlMaxIndexLength,
        SqlInfo::SqlDbSchemaNameLength,
        SqlInfo::SqlMaxProcedureNameLength,
        SqlInfo::SqlMaxCatalogNameLength,
        SqlInfo::SqlMaxRowSize,
        SqlInfo::SqlMaxStatementLength,
        SqlInfo::SqlMaxStatements,
        SqlInfo::SqlMaxTableNameLength,
        SqlInfo::SqlMaxTablesInSelect,
        SqlInfo::SqlMaxUsernameLength,
    ] {
        infos.append(size, 0_i64);
    }
    infos.append(SqlInfo::SqlMaxRowSizeIncludesBlobs, true);
}

/// Nothing can be changed, so there are no transactions, and rows are read once and forwards.
fn changes(infos: &mut SqlInfoDataBuilder) {
    for unsupported in [
        SqlInfo::SqlDdlCatalog,
        SqlInfo::SqlDdlSchema,
        SqlInfo::SqlDdlTable,
        SqlInfo::SqlTransactionsSupported,
        SqlInfo::SqlDataDefinitionCausesTransactionCommit,
        SqlInfo::SqlDataDefinitionsInTransactionsIgnored,
        SqlInfo::SqlBatchUpdatesSupported,
        SqlInfo::SqlSavepointsSupported,
        SqlInfo::SqlLocatorsUpdateCopy,
        SqlInfo::SqlStoredFunctionsUsingCallSyntaxSupported,
    ] {
        infos.append(unsupported, false);
    }
    for none in [
        SqlInfo::SqlSchemasSupportedActions,
        SqlInfo::SqlCatalogsSupportedActions,
        SqlInfo::SqlSupportedPositionedCommands,
        SqlInfo::SqlSupportedConcurrenciesForResultSetScrollSensitive,
        SqlInfo::SqlSupportedConcurrenciesForResultSetScrollInsensitive,
    ] {
        infos.append(none, 0_i32);
    }
    let isolation = SqlTransactionIsolationLevel::SqlTransactionNone as i32;
    infos.append(SqlInfo::SqlDefaultTransactionIsolation, isolation);
    infos.append(SqlInfo::SqlSupportedTransactionsIsolationLevels, bits([isolation]));
    let forward = SqlSupportedResultSetType::SqlResultSetTypeForwardOnly as i32;
    infos.append(SqlInfo::SqlSupportedResultSetTypes, bits([forward]));
    let read_only = SqlSupportedResultSetConcurrency::SqlResultSetConcurrencyReadOnly as i32;
    infos.append(SqlInfo::SqlSupportedConcurrenciesForResultSetUnspecified, bits([read_only]));
    infos.append(SqlInfo::SqlSupportedConcurrenciesForResultSetForwardOnly, bits([read_only]));
}
