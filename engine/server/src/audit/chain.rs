//! The lines of an audit log: each has the digest of the one before.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{AuditError, Event};

/// The digest before the first line.
const NOTHING: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// The most bytes of a line; names and rights are bounded, groups nearly so.
const MAX_LINE: u64 = 1024 * 1024;

/// Says where an audit log does not follow from itself.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Read(#[from] std::io::Error),
    /// A line is not there any more.
    #[error(
        "no line has the digest that was the last one: the end was cut off, or all of it was written anew"
    )]
    Missing,
    /// A line is not as it was written.
    #[error("line {line}: {why}")]
    Broken {
        /// The number of the line, from 1.
        line: u64,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// What an audit log holds that is as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// How many lines there are.
    pub lines: u64,
    /// The digest of the last one.
    pub last: String,
}

/// Reads an audit log, and sees that every line follows from the one before.
///
/// What was cut off at the end does not show, but by a digest that was the last one once.
pub fn verify(log: impl BufRead, once_last: Option<&str>) -> Result<Verified, VerifyError> {
    let mut before: Option<Link> = None;
    let mut is_there = once_last.is_none();
    for (number, line) in (1..).zip(log.lines()) {
        let broken = |why| VerifyError::Broken { line: number, why };
        let link =
            Link::read(&line?).ok_or_else(|| broken("it is no line of an audit log, or was changed"))?;
        let (sequence, previous) = match &before {
            Some(before) => (before.sequence + 1, before.digest.as_str()),
            None => (1, NOTHING),
        };
        if link.sequence != sequence || link.previous != previous {
            return Err(broken(
                "it does not follow from the line before: something was taken out, put in or moved",
            ));
        }
        is_there |= once_last == Some(link.digest.as_str());
        before = Some(link);
    }
    if !is_there {
        return Err(VerifyError::Missing);
    }
    let (lines, last) = before.map_or((0, NOTHING.to_owned()), |last| (last.sequence, last.digest));
    Ok(Verified { lines, last })
}

/// A file, and where its chain stands.
pub(super) struct Chain {
    pub(super) file: File,
    /// How much of the file is whole lines; nothing where it cannot be cut, as in a pipe.
    length: Option<u64>,
    sequence: u64,
    previous: String,
    /// Lines that are not in the file yet.
    pending: Vec<u8>,
}

/// What of a line holds it in its chain.
#[derive(Deserialize)]
struct Link {
    sequence: u64,
    previous: String,
    #[serde(default)]
    digest: String,
}

/// A line, but for its own digest.
#[derive(Serialize)]
struct Line<'e> {
    sequence: u64,
    at: Timestamp,
    previous: &'e str,
    event: &'e Event<'e>,
}

impl Chain {
    /// Goes on with a file, or begins one.
    pub(super) fn open(path: &Path) -> Result<Self, AuditError> {
        let failed = |source| AuditError::Open { path: path.to_owned(), source };
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(path).map_err(failed)?;
        let is_regular = file.metadata().map_err(failed)?.is_file();
        let mut chain =
            Self { length: None, sequence: 0, previous: NOTHING.to_owned(), pending: Vec::new(), file };
        if !is_regular {
            return Ok(chain);
        }
        file = chain.file.try_clone().map_err(failed)?;
        let size = file.seek(SeekFrom::End(0)).map_err(failed)?;
        let start = size.saturating_sub(MAX_LINE);
        file.seek(SeekFrom::Start(start)).map_err(failed)?;
        let mut tail = Vec::new();
        file.take(MAX_LINE).read_to_end(&mut tail).map_err(failed)?;
        let foreign = || AuditError::Foreign(path.to_owned());
        // A line without its end is one that was never finished: what it tells of was never answered.
        let whole = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        if whole == 0 && start > 0 {
            return Err(foreign());
        }
        if let Some(last) = tail[..whole].trim_ascii_end().rsplit(|byte| *byte == b'\n').next()
            && !last.is_empty()
        {
            let last = std::str::from_utf8(last).ok().and_then(Link::read).ok_or_else(foreign)?;
            (chain.sequence, chain.previous) = (last.sequence, last.digest);
        }
        let length = start + whole as u64;
        chain.file.set_len(length).map_err(failed)?;
        chain.length = Some(length);
        Ok(chain)
    }

    /// Makes a line of an event.
    pub(super) fn add(&mut self, event: &Event<'_>, at: Timestamp) -> std::io::Result<()> {
        let line = Line { sequence: self.sequence + 1, at, previous: &self.previous, event };
        let line = serde_json::to_string(&line)?;
        let digest = hex(&line);
        let body = line.strip_suffix('}').unwrap_or(&line);
        self.pending.extend_from_slice(format!("{body}{SEAL}{digest}\"}}\n").as_bytes());
        self.sequence += 1;
        self.previous = digest;
        Ok(())
    }

    /// Makes a line of an event and brings it into the file, or leaves all as it was.
    pub(super) fn announce(&mut self, event: &Event<'_>, at: Timestamp) -> std::io::Result<()> {
        self.flush()?;
        let (sequence, previous) = (self.sequence, self.previous.clone());
        let written = self.add(event, at).and_then(|()| self.flush());
        if written.is_err() {
            (self.sequence, self.previous) = (sequence, previous);
            self.pending.clear();
        }
        written
    }

    /// Brings into the file what is not there yet.
    pub(super) fn flush(&mut self) -> std::io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.file.write_all(&self.pending) {
            if let Some(length) = self.length {
                // What was written of a line would be in the way of the whole one.
                let _ = self.file.set_len(length);
            }
            return Err(error);
        }
        self.length = self.length.map(|length| length + self.pending.len() as u64);
        self.pending.clear();
        Ok(())
    }
}

/// What stands between a line and its digest.
const SEAL: &str = ",\"digest\":\"";

impl Link {
    /// Reads a line whose digest is its own.
    fn read(line: &str) -> Option<Self> {
        let (body, digest) = line.strip_suffix("\"}")?.rsplit_once(SEAL)?;
        let found: Self = serde_json::from_str(line).ok()?;
        (hex(&format!("{body}}}")) == digest && found.digest == digest).then_some(found)
    }
}

fn hex(text: &str) -> String {
    format!("{:x}", Sha256::digest(text))
}
