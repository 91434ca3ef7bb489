//! The audit log: who had what done to which Action, and what was decided about it. One line of JSON each, in which
//! every line has the digest of the one before, so that none can be changed, left out or put in unseen.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use ochre_core::access::Right;
use ochre_core::action::{Action, ActionStatus, UserInfo};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The digest before the first line.
const NOTHING: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// The most bytes of a line; names and rights are bounded, groups nearly so.
const MAX_LINE: u64 = 1024 * 1024;

/// Says why there is no audit log.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The file cannot be used.
    #[error("the audit log {path} cannot be opened: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is something else.
    #[error(
        "{0} is not an audit log, or its last line was changed; look at it with `ochre audit verify`, and name another file"
    )]
    Foreign(PathBuf),
}

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

/// What is written down.
#[derive(Serialize)]
#[serde(tag = "what", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum Event<'e> {
    /// A mutation was answered; the code is `OK`, or says why nothing was done.
    Mutation {
        operation: &'e str,
        namespace: &'e str,
        name: &'e str,
        by: Option<&'e UserInfo>,
        code: &'e str,
        request: &'e str,
    },
    /// It was decided whether a run may make what it is about to make.
    Right { action: Target<'e>, by: Option<&'e UserInfo>, right: String, allowed: bool },
    /// A run came to a phase.
    Phase {
        action: Target<'e>,
        by: Option<&'e UserInfo>,
        phase: &'e str,
        attempt: u32,
        verdict: Option<&'e str>,
        catalog: Option<&'e str>,
        workflow: Option<&'e str>,
    },
}

/// Names an Action.
#[derive(Serialize)]
pub(crate) struct Target<'e> {
    namespace: Option<&'e str>,
    name: Option<&'e str>,
    uid: Option<&'e str>,
}

/// The audit log, or none.
#[derive(Clone, Default)]
pub(crate) struct Audit(Option<Arc<Mutex<Chain>>>);

impl Audit {
    /// Goes on with a file, or begins one.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, AuditError> {
        let chain = path.map(Chain::open).transpose()?;
        Ok(Self(chain.map(|chain| Arc::new(Mutex::new(chain)))))
    }

    /// Writes something down, at once or as soon as that can be done.
    pub(crate) fn write(&self, event: &Event<'_>) {
        let Some(chain) = &self.0 else { return };
        let mut chain = chain.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = chain.add(event, Timestamp::now()).and_then(|()| chain.flush()) {
            tracing::error!(error = &error as &dyn std::error::Error, "the audit log cannot be written");
        }
    }

    /// Tells whether all is written down that was done: nothing more is done for anybody before that.
    pub(crate) fn is_whole(&self) -> bool {
        let Some(chain) = &self.0 else { return true };
        chain.lock().unwrap_or_else(PoisonError::into_inner).flush().is_ok()
    }

    /// Writes down that an Action came to another phase.
    pub(crate) fn phase(&self, action: &Action, status: &ActionStatus) {
        let rendering = status.rendering.as_ref();
        self.write(&Event::Phase {
            action: Target::of(action),
            by: status.run_by.as_ref(),
            phase: status.phase.as_str(),
            attempt: status.attempt,
            verdict: status.outcome.as_ref().map(|outcome| outcome.verdict.as_str()),
            catalog: rendering.map(|rendering| rendering.catalog_digest.as_str()),
            workflow: rendering.map(|rendering| rendering.workflow_ref.digest.as_str()),
        });
    }

    /// Writes down whether a run may do something.
    pub(crate) fn right(&self, action: &Action, right: &Right, allowed: bool) {
        let by = action.status.as_ref().and_then(|status| status.run_by.as_ref());
        self.write(&Event::Right { action: Target::of(action), by, right: right.to_string(), allowed });
    }
}

impl<'e> Target<'e> {
    fn of(action: &'e Action) -> Self {
        let metadata = &action.metadata;
        Self {
            namespace: metadata.namespace.as_deref(),
            name: metadata.name.as_deref(),
            uid: metadata.uid.as_deref(),
        }
    }
}

/// A file, and where its chain stands.
struct Chain {
    file: File,
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
    fn open(path: &Path) -> Result<Self, AuditError> {
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
    fn add(&mut self, event: &Event<'_>, at: Timestamp) -> std::io::Result<()> {
        let line = Line { sequence: self.sequence + 1, at, previous: &self.previous, event };
        let line = serde_json::to_string(&line)?;
        let digest = hex(&line);
        let body = line.strip_suffix('}').unwrap_or(&line);
        self.pending.extend_from_slice(format!("{body}{SEAL}{digest}\"}}\n").as_bytes());
        self.sequence += 1;
        self.previous = digest;
        Ok(())
    }

    /// Brings into the file what is not there yet.
    fn flush(&mut self) -> std::io::Result<()> {
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

#[cfg(test)]
mod tests {
    //! Logs that were changed, and logs that were not finished.

    use std::fs;

    use ochre_core::action::UserInfo;

    use super::*;

    fn write(audit: &Audit, name: &str) {
        let alice = UserInfo { username: "alice \",\"digest\":\"".to_owned(), ..UserInfo::default() };
        audit.write(&Event::Mutation {
            operation: "runAction",
            namespace: "default",
            name,
            by: Some(&alice),
            code: "OK",
            request: "r",
        });
    }

    /// Writes a log of so many lines.
    fn log(folder: &tempfile::TempDir, lines: usize) -> PathBuf {
        let path = folder.path().join("audit.jsonl");
        let audit = Audit::open(Some(&path)).unwrap();
        for number in 0..lines {
            write(&audit, &format!("action-{number}"));
        }
        path
    }

    fn verified(path: &Path) -> Result<Verified, String> {
        verify(fs::read(path).unwrap().as_slice(), None).map_err(|error| error.to_string())
    }

    #[test]
    fn a_log_goes_on_where_it_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = log(&folder, 3);
        let three = verified(&path).unwrap();
        write(&Audit::open(Some(&path)).unwrap(), "later");
        let four = verified(&path).unwrap();
        assert_eq!((three.lines, four.lines), (3, 4));
        let text = fs::read(&path).unwrap();
        assert!(verify(text.as_slice(), Some(&three.last)).is_ok());
        let cut = text.split_inclusive(|byte| *byte == b'\n').take(2).collect::<Vec<_>>().concat();
        let missing = verify(cut.as_slice(), Some(&three.last)).unwrap_err();
        assert!(matches!(missing, VerifyError::Missing), "{missing}");
    }

    #[test]
    fn whatever_is_changed_shows() {
        let folder = tempfile::tempdir().unwrap();
        let path = log(&folder, 4);
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let changed = lines[1].replace("action-1", "action-9");
        for (what, lines, line) in [
            ("changed", vec![lines[0], &changed, lines[2]], 2),
            ("left out", vec![lines[0], lines[2], lines[3]], 2),
            ("at the beginning", vec![lines[1], lines[2]], 1),
            ("moved", vec![lines[0], lines[2], lines[1]], 2),
            ("twice", vec![lines[0], lines[0]], 2),
            ("put in", vec![lines[0], "{}", lines[1]], 2),
            ("empty", vec![lines[0], "", lines[1]], 2),
        ] {
            let found = verify(lines.join("\n").as_bytes(), None).unwrap_err().to_string();
            assert!(found.starts_with(&format!("line {line}: ")), "{what}: {found}");
        }
        assert_eq!(verify(&b""[..], None).unwrap().lines, 0);
    }

    #[test]
    fn a_line_that_was_not_finished_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = log(&folder, 2);
        let text = fs::read_to_string(&path).unwrap();
        for torn in [text.len() - 1, text.len() - 20, text.find('\n').unwrap() + 2] {
            fs::write(&path, &text[..torn]).unwrap();
            write(&Audit::open(Some(&path)).unwrap(), "later");
            assert_eq!(verified(&path).map(|log| log.lines), Ok(2), "cut at {torn}");
        }
        fs::write(&path, "something else\n").unwrap();
        assert!(matches!(Audit::open(Some(&path)), Err(AuditError::Foreign(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "something else\n", "it is left alone");
    }

    #[test]
    fn what_could_not_be_written_is_written_later_and_nothing_is_done_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = log(&folder, 1);
        let audit = Audit::open(Some(&path)).unwrap();
        let chain = audit.0.as_ref().unwrap();
        // A file that is open for reading only stands for a full disk.
        let writable = std::mem::replace(&mut chain.lock().unwrap().file, File::open(&path).unwrap());
        write(&audit, "second");
        assert!(!audit.is_whole());
        chain.lock().unwrap().file = writable;
        assert!(audit.is_whole());
        write(&audit, "third");
        assert_eq!(verified(&path).map(|log| log.lines), Ok(3));
    }
}
