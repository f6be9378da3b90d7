//! Retention of flags: old rows go, and what they say of the time after them stays.
//!
//! What was set long ago may still be in effect, and the traces that are kept are joined with it. So of all rows of one
//! setting that are past their retention the newest stays, and it is the base of what comes later. Evaluations, of which
//! each span may bring some, have a retention of their own: of them the newest of each variant, service and environment
//! stays, which says that the variant is not new.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, StringArray};
use arrow::datatypes::{TimestampNanosecondType, UInt64Type};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use futures::TryStreamExt;
use lance::Dataset;
use lance::dataset::DeleteBuilder;
use tracerag_schemas::Table;

use super::MaintainOptions;
use super::retain::{first_day, first_kept};
use crate::columns::{present, with_absent};
use crate::error::{At, Result};
use crate::lake::Lake;

const NAME: &str = "flags";
/// Whose setting a row is: a change holds for these, whatever it says.
const SETTING: [&str; 7] =
    ["tenant_id", "kind", "key", "service_name", "service_instance_id", "deployment_environment_name", "set_id"];
/// Of what rows of evaluations are one.
const EVALUATED: [&str; 6] = ["tenant_id", "kind", "key", "service_name", "deployment_environment_name", "variant"];
/// What is read of a row.
const COLUMNS: [&str; 10] = [
    "tenant_id",
    "kind",
    "key",
    "service_name",
    "service_instance_id",
    "deployment_environment_name",
    "set_id",
    "variant",
    "source",
    "valid_from",
];
const EVALUATION: &str = "evaluation";
const ROW_ID: &str = "_rowid";

/// Deletes the rows that are past their retention, all but the newest of each setting. Gives their number.
pub(super) async fn expire(lake: &Lake, options: &MaintainOptions) -> Result<u64> {
    match Expired::find(lake, options).await? {
        Some(expired) => expired.delete(lake).await,
        None => Ok(0),
    }
}

/// Rows of one version that are past their retention and say nothing of the time after them.
pub(crate) struct Expired {
    dataset: Arc<Dataset>,
    condition: String,
    rows: usize,
}

impl Expired {
    /// Looks for them; `None` if there are none.
    pub(crate) async fn find(lake: &Lake, options: &MaintainOptions) -> Result<Option<Self>> {
        let before = |first: String| format!("ingested_at < timestamp '{first} 00:00:00'");
        let changes = first_kept(Table::Flags, options)
            .map(|first| format!("({} and (source is null or source <> '{EVALUATION}'))", before(first)));
        let evaluations = options
            .retention
            .of_evaluations()
            .map(|keep| format!("({} and source = '{EVALUATION}')", before(first_day(keep, options.now))));
        let over: Vec<String> = changes.into_iter().chain(evaluations).collect();
        if over.is_empty() {
            return Ok(None);
        }
        let over = format!("({})", over.join(" or "));
        let dataset = lake.newest(NAME).await?;
        let mut scan = dataset.scan();
        scan.project(&present(&dataset, &COLUMNS)).at(NAME, "looking for flags past retention")?;
        scan.filter(&over).at(NAME, "looking for flags past retention")?;
        scan.with_row_id();
        let mut stream = scan.try_into_stream().await.at(NAME, "looking for flags past retention")?;
        let schema = lake.schemas().newest(Table::Flags);
        let mut newest = Newest::default();
        let mut rows = 0;
        while let Some(batch) = stream.try_next().await.at(NAME, "looking for flags past retention")? {
            rows += batch.num_rows();
            let batch = with_absent(batch, &schema, &COLUMNS).at(NAME, "looking for flags past retention")?;
            newest.take(&batch).at(NAME, "looking for flags past retention")?;
        }
        drop(stream);
        if rows == newest.0.len() {
            return Ok(None);
        }
        let mut kept: Vec<u64> = newest.0.into_values().map(|(_, row)| row).collect();
        kept.sort_unstable();
        let rows = rows - kept.len();
        let condition = match kept.is_empty() {
            true => over,
            false => {
                let kept: Vec<String> = kept.iter().map(u64::to_string).collect();
                format!("{over} and {ROW_ID} not in ({})", kept.join(", "))
            }
        };
        Ok(Some(Self { dataset, condition, rows }))
    }

    /// Deletes them. Gives their number.
    ///
    /// # Errors
    /// When fragments of them were merged meanwhile: their rows have other numbers then, and those that stay would go
    /// with another attempt. The next round looks again.
    pub(crate) async fn delete(self, lake: &Lake) -> Result<u64> {
        let delete = DeleteBuilder::new(self.dataset, self.condition).conflict_retries(0);
        let deleted = delete.execute().await.at(NAME, "deleting flags past retention")?;
        lake.remember(NAME, Arc::unwrap_or_clone(deleted.new_dataset));
        Ok(self.rows as u64)
    }
}

/// The newest row of each setting, by what tells settings apart: its time in ns, and its number.
#[derive(Default)]
struct Newest(HashMap<String, (i64, u64)>);

impl Newest {
    /// Takes rows in. One without a key is no setting.
    fn take(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let absent = |name: &str| ArrowError::SchemaError(format!("stored flags have no column {name}"));
        let column = |name: &str| batch.column_by_name(name).ok_or_else(|| absent(name));
        let text = |name: &str| column(name)?.as_string_opt::<i32>().ok_or_else(|| absent(name));
        let numbers = column(ROW_ID)?.as_primitive_opt::<UInt64Type>().ok_or_else(|| absent(ROW_ID))?;
        let times = column("valid_from")?.as_primitive_opt::<TimestampNanosecondType>();
        let times = times.ok_or_else(|| absent("valid_from"))?;
        let (keys, sources) = (text("key")?, text("source")?);
        let settings = SETTING.into_iter().map(text).collect::<Result<Vec<_>, _>>()?;
        let evaluated = EVALUATED.into_iter().map(text).collect::<Result<Vec<_>, _>>()?;
        let mut of = String::new();
        for row in (0..batch.num_rows()).filter(|row| keys.is_valid(*row)) {
            let is_evaluation = sources.is_valid(row) && sources.value(row) == EVALUATION;
            identity(is_evaluation, if is_evaluation { &evaluated } else { &settings }, row, &mut of);
            let here = (if times.is_valid(row) { times.value(row) } else { i64::MIN }, numbers.value(row));
            match self.0.get_mut(&of) {
                Some(known) => *known = here.max(*known),
                None => {
                    self.0.insert(of.clone(), here);
                }
            }
        }
        Ok(())
    }
}

/// What tells a row's setting apart from all others.
fn identity(is_evaluation: bool, columns: &[&StringArray], row: usize, into: &mut String) {
    into.clear();
    into.push(if is_evaluation { 'e' } else { 'c' });
    for column in columns {
        if column.is_valid(row) {
            let text = column.value(row);
            // The length keeps neighbours apart.
            into.push_str(&text.len().to_string());
            into.push(':');
            into.push_str(text);
        } else {
            into.push('-');
        }
    }
}
