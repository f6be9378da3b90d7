//! `tracerag scaffold`: a failing test from the evidence of a trace.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::Context;
use crate::error::Error;
use crate::output;
use crate::scaffold::{Language, TestFile, scaffold};

/// Options of `scaffold`.
#[derive(Debug, Args)]
pub(crate) struct ScaffoldArgs {
    /// The language of the test
    #[arg(long, value_enum)]
    lang: Language,
    /// A folder to write the test into, whose path is printed then [default: the test itself is printed]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// A trace id, or the id of a bundle that was handed out (sha256:...)
    #[arg(value_name = "TRACE_ID|BUNDLE_ID")]
    id: String,
}

/// Prints or writes the test. The bundle that it names is stored.
pub(crate) async fn run(context: Context, args: ScaffoldArgs) -> Result<(), Error> {
    let session = super::session(&context).await?;
    let bundle = tracerag_query::bundle::hand_out(&session, &args.id).await?;
    let test = scaffold(&bundle, args.lang)?;
    match args.out {
        None => output::data(&test.text),
        Some(folder) => output::data(&format!("{}\n", write(&folder, &test)?.display())),
    }
}

/// Writes the test into a folder, which is made where it is not there. A file that somebody has changed stays.
fn write(folder: &Path, test: &TestFile) -> Result<PathBuf, Error> {
    let path = folder.join(&test.name);
    let failed = |what: &str| Error::io(format!("{what} {}", path.display()));
    std::fs::create_dir_all(folder).map_err(failed("make the folder of"))?;
    match std::fs::File::create_new(&path) {
        Ok(mut file) => file.write_all(test.text.as_bytes()).map_err(failed("write"))?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            if std::fs::read(&path).map_err(failed("read"))? != test.text.as_bytes() {
                return Err(Error::FileIsThere { file: path.display().to_string() });
            }
        }
        Err(error) => return Err(failed("write")(error)),
    }
    Ok(path)
}
