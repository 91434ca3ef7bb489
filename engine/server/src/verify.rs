//! `ochre audit verify`: for those who must be able to rely on an audit log.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use ochre::audit::{Verified, VerifyError, verify};

use super::print;

/// Says whether an audit log is as it was written.
pub(crate) fn audit(file: &Path, once_last: Option<&str>) -> anyhow::Result<ExitCode> {
    let log: Box<dyn BufRead> = if file.as_os_str() == "-" {
        Box::new(io::stdin().lock())
    } else {
        let opened = File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
        Box::new(BufReader::new(opened))
    };
    match verify(log, once_last) {
        Ok(Verified { lines, last }) => print(&format!(
            "{lines} lines, each as it was written; the last digest is {last} (keep it elsewhere, and give it as --last next time)"
        )),
        Err(VerifyError::Read(error)) => Err(error).context(format!("cannot read {}", file.display())),
        Err(broken @ (VerifyError::Broken { .. } | VerifyError::Missing)) => {
            writeln!(io::stderr(), "{}: {broken}", file.display())?;
            Ok(ExitCode::FAILURE)
        }
    }
}
