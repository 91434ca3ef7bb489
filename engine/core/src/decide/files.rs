//! Reads, for a step, the files that Velero keeps.

use super::step::At;
use super::{Blocked, DocumentKey, DocumentState, Run, derived_name};
use crate::velero::{Document, DocumentKind, Item, Results, SavedObject, Volume};

/// What reading a file came to.
pub(super) enum Read<T> {
    Is(T),
    Pending,
    Unavailable(String),
}

/// Takes what was read, or returns from the function with what is to be said instead.
macro_rules! read {
    ($read:expr, $pending:expr, $unavailable:expr) => {
        match $read {
            Read::Is(value) => value,
            Read::Pending => return Ok($pending),
            Read::Unavailable(why) => return Ok($unavailable(why)),
        }
    };
}
pub(super) use read;

impl<'a> Run<'a> {
    pub(super) fn items(
        &mut self,
        at: &At<'_>,
        kind: DocumentKind,
        object: &str,
    ) -> Result<Read<&'a [Item]>, Blocked> {
        Ok(match self.read(at, kind, object)? {
            Read::Is(Document::Items(items)) => Read::Is(items),
            other => other.wrong(),
        })
    }

    pub(super) fn contents(&mut self, at: &At<'_>, object: &str) -> Result<Read<&'a [SavedObject]>, Blocked> {
        Ok(match self.read(at, DocumentKind::BackupContents, object)? {
            Read::Is(Document::Contents(contents)) => Read::Is(contents),
            other => other.wrong(),
        })
    }

    pub(super) fn volumes(&mut self, at: &At<'_>, object: &str) -> Result<Read<&'a [Volume]>, Blocked> {
        Ok(match self.read(at, DocumentKind::BackupVolumeInfos, object)? {
            Read::Is(Document::Volumes(volumes)) => Read::Is(volumes),
            other => other.wrong(),
        })
    }

    pub(super) fn results(
        &mut self,
        at: &At<'_>,
        kind: DocumentKind,
        object: &str,
    ) -> Result<Read<&'a Results>, Blocked> {
        Ok(match self.read(at, kind, object)? {
            Read::Is(Document::Results(results)) => Read::Is(results),
            other => other.wrong(),
        })
    }

    fn read(&mut self, at: &At<'_>, kind: DocumentKind, object: &str) -> Result<Read<&'a Document>, Blocked> {
        let attempt = at.status.attempt.to_string();
        let request =
            derived_name(self.name(), &[self.uid(), &at.step.name, &attempt, kind.as_str(), object]);
        let key = DocumentKey { kind, object: object.to_owned(), request };
        Ok(match self.document(key)? {
            DocumentState::Pending { .. } | DocumentState::Crowded { .. } => Read::Pending,
            DocumentState::Read(document) => Read::Is(document),
            DocumentState::Unavailable(why) => Read::Unavailable(why.clone()),
        })
    }
}

impl<T> Read<T> {
    /// A file that was read is always of the kind that was asked for, or it is unreadable.
    fn wrong<U>(self) -> Read<U> {
        match self {
            Self::Is(_) => Read::Unavailable("the file is of another kind".to_owned()),
            Self::Pending => Read::Pending,
            Self::Unavailable(why) => Read::Unavailable(why),
        }
    }
}
