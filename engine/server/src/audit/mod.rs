//! The audit log: who had what done to which Action, and what was decided about it. One line of JSON each, in which
//! every line has the digest of the one before, so that none can be changed, left out or put in unseen.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use ochre_core::access::Right;
use ochre_core::action::{Action, ActionStatus, UserInfo};
use ochre_core::phase::Phase;
use ochre_core::workflow::StoredWorkflowError;
use serde::Serialize;

use chain::Chain;
pub use chain::{Verified, VerifyError, verify};

mod chain;

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

/// How many rights a line names; how many were asked for, it says of all.
const MOST_RIGHTS: usize = 100;

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
    /// It was asked whether a run may do what it is about to do.
    Rights {
        action: Target<'e>,
        by: Option<&'e UserInfo>,
        /// How many rights were asked for.
        asked: usize,
        /// Whether all were allowed.
        allowed: bool,
        /// Those that were refused, or all of them where none was; the first [`MOST_RIGHTS`].
        rights: Vec<String>,
    },
    /// The ConfigMap of a run does not hold the workflow that was rendered, so it is not run.
    WorkflowMismatch { action: Target<'e>, problem: String },
    /// A run came to a phase.
    Phase {
        action: Target<'e>,
        /// Who had it run; of one that was canceled, who had it canceled.
        by: Option<&'e UserInfo>,
        /// Why it was canceled: `cancel` was asked for, or its Action `deleted`; by whom, the API server's audit log says.
        #[serde(skip_serializing_if = "Option::is_none")]
        cause: Option<&'e str>,
        phase: &'e str,
        attempt: u32,
        verdict: Option<&'e str>,
        catalog: Option<&'e str>,
        workflow: Option<&'e str>,
        /// Why the API server has not taken the status that says so, or not all of it.
        #[serde(skip_serializing_if = "Option::is_none")]
        status_refused: Option<String>,
    },
    /// An Action is gone that was in this phase when it was last seen, so that how its run ended is not known.
    Vanished {
        action: Target<'e>,
        by: Option<&'e UserInfo>,
        phase: &'e str,
        attempt: u32,
        workflow: Option<&'e str>,
        /// What its steps had made or followed, which may be there still.
        left: &'e [String],
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

    /// Writes something down before it is done; tells whether it is written, else nothing is.
    fn announce(&self, event: &Event<'_>) -> bool {
        let Some(chain) = &self.0 else { return true };
        let mut chain = chain.lock().unwrap_or_else(PoisonError::into_inner);
        let announced = chain.announce(event, Timestamp::now());
        if let Err(error) = &announced {
            tracing::error!(error = error as &dyn std::error::Error, "the audit log cannot be written");
        }
        announced.is_ok()
    }

    /// Tells whether all is written down that was done: nothing more is done for anybody before that.
    pub(crate) fn is_whole(&self) -> bool {
        let Some(chain) = &self.0 else { return true };
        chain.lock().unwrap_or_else(PoisonError::into_inner).flush().is_ok()
    }

    /// Writes down that an Action came to another phase, and why its status does not say so, where it does not.
    pub(crate) fn phase(&self, action: &Action, status: &ActionStatus, refused: Option<String>) {
        self.write(&Event::phase(action, status, refused));
    }

    /// Writes down that a run begins, before it does; tells whether it may, since that is written.
    pub(crate) fn begins(&self, action: &Action, status: &ActionStatus) -> bool {
        self.announce(&Event::phase(action, status, None))
    }

    /// Writes down that the stored workflow of a run is not the one that was rendered.
    pub(crate) fn workflow_mismatch(&self, action: &Action, problem: &StoredWorkflowError) {
        let problem = problem.to_string();
        self.write(&Event::WorkflowMismatch { action: Target::of(action), problem });
    }

    /// Writes down that how a run ended is not known, and what is left of it.
    pub(crate) fn vanished(&self, action: &Action, status: &ActionStatus, left: &[String]) {
        let rendering = status.rendering.as_ref();
        self.write(&Event::Vanished {
            action: Target::of(action),
            by: status.run_by.as_ref(),
            phase: status.phase.as_str(),
            attempt: status.attempt,
            workflow: rendering.map(|rendering| rendering.workflow_ref.digest.as_str()),
            left,
        });
    }

    /// Writes down which rights a run was found to have and to lack.
    pub(crate) fn rights(&self, action: &Action, held: &[Right], missing: &[Right]) {
        let by = action.status.as_ref().and_then(|status| status.run_by.as_ref());
        let named = if missing.is_empty() { held } else { missing };
        self.write(&Event::Rights {
            action: Target::of(action),
            by,
            asked: held.len() + missing.len(),
            allowed: missing.is_empty(),
            rights: named.iter().take(MOST_RIGHTS).map(ToString::to_string).collect(),
        });
    }
}

impl<'e> Event<'e> {
    fn phase(action: &'e Action, status: &'e ActionStatus, status_refused: Option<String>) -> Self {
        let rendering = status.rendering.as_ref();
        let (by, cause) = match status.phase {
            Phase::Canceled if action.spec.cancel => (&status.canceled_by, Some("cancel")),
            Phase::Canceled => (&None, Some("deleted")),
            _ => (&status.run_by, None),
        };
        Self::Phase {
            action: Target::of(action),
            by: by.as_ref(),
            cause,
            status_refused,
            phase: status.phase.as_str(),
            attempt: status.attempt,
            verdict: status.outcome.as_ref().map(|outcome| outcome.verdict.as_str()),
            catalog: rendering.map(|rendering| rendering.catalog_digest.as_str()),
            workflow: rendering.map(|rendering| rendering.workflow_ref.digest.as_str()),
        }
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

#[cfg(test)]
mod tests {
    //! Logs that were changed, and logs that were not finished.

    use std::fs::{self, File};

    use ochre_core::action::{ActionSpec, UserInfo};

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

    fn begins(audit: &Audit) -> bool {
        audit.begins(&Action::new("nightly", ActionSpec::default()), &ActionStatus::default())
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
        assert!(!begins(&audit), "what cannot be written is not done");
        write(&audit, "second");
        assert!(!audit.is_whole());
        assert!(!begins(&audit), "nor what comes after something that is not written yet");
        chain.lock().unwrap().file = writable;
        assert!(audit.is_whole());
        write(&audit, "third");
        assert_eq!(verified(&path).map(|log| log.lines), Ok(3), "of what was not done there is no line");
        assert!(begins(&audit));
        assert_eq!(verified(&path).map(|log| log.lines), Ok(4));
    }
}
