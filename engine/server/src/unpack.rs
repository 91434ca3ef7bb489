//! Reads a file that Velero packed while it comes, and keeps no more of it than is looked at.

use std::io::{BufReader, Error, ErrorKind, Read};

use flate2::read::MultiGzDecoder;
use ochre_core::velero::{Document, DocumentKind, SavedObject};
use tar::{EntryType, PaxExtensions};
use tokio::sync::mpsc::Receiver;
use tokio_util::bytes::Bytes;

use crate::download::DownloadError;

/// The most bytes of a file, as it comes and unpacked.
const MAX_PACKED: u64 = 256 * 1024 * 1024;
const MAX_UNPACKED: u64 = 1024 * 1024 * 1024;
/// How many bytes one that came may unpack to, on the whole; Velero's are ten to fifty.
const MAX_RATIO: u64 = 256;
/// Up to here the ratio says nothing.
const SMALL: u64 = 16 * 1024 * 1024;
/// The most bytes of one object; Kubernetes keeps none of more than about 1.5 MiB.
const MAX_OBJECT: u64 = 2 * 1024 * 1024;
/// The longest path in a tarball.
const MAX_PATH: u64 = 8 * 1024;

/// Reads a file as it comes. `admit` is asked before more of it is kept.
pub(crate) fn read<A>(
    body: Receiver<reqwest::Result<Bytes>>,
    kind: DocumentKind,
    admit: A,
) -> Result<Document, DownloadError>
where
    A: FnMut(u64) -> Result<(), DownloadError>,
{
    let mut failure = None;
    let packed = Packed { body, current: Bytes::new(), total: 0, failure: &mut failure };
    let read = unpacked(packed, kind, admit);
    // What came of the file says less than why it did not come.
    match failure {
        Some(failure) => Err(failure),
        None => read,
    }
}

fn unpacked<A>(packed: Packed<'_>, kind: DocumentKind, admit: A) -> Result<Document, DownloadError>
where
    A: FnMut(u64) -> Result<(), DownloadError>,
{
    let mut refused = None;
    let mut unpacked = Unpacked {
        packed: MultiGzDecoder::new(packed),
        total: 0,
        price: Price::of(kind),
        admit,
        refused: &mut refused,
    };
    let read = match kind {
        DocumentKind::BackupContents => contents(&mut unpacked).map(Document::Contents),
        _ => Document::read(kind, BufReader::new(&mut unpacked)).map_err(|error| damaged(&error)),
    };
    // The end has a checksum.
    let rest = std::io::copy(&mut unpacked, &mut std::io::sink());
    if let Some(refusal) = refused {
        return Err(refusal);
    }
    let document = read?;
    rest.map_err(|error| damaged(&error))?;
    Ok(document)
}

fn damaged(error: &dyn std::error::Error) -> DownloadError {
    DownloadError::Damaged(error.to_string())
}

/// What comes, chunk by chunk.
struct Packed<'failure> {
    body: Receiver<reqwest::Result<Bytes>>,
    current: Bytes,
    total: u64,
    failure: &'failure mut Option<DownloadError>,
}

impl Read for Packed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.current.is_empty() {
            match self.body.blocking_recv() {
                Some(Ok(chunk)) => self.current = chunk,
                Some(Err(error)) => {
                    *self.failure = Some(DownloadError::Interrupted(error.without_url()));
                    return Err(Error::other("interrupted"));
                }
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.current.len());
        self.total += length as u64;
        if self.total > MAX_PACKED {
            *self.failure = Some(DownloadError::TooLarge { what: "packed", limit: MAX_PACKED });
            return Err(Error::new(ErrorKind::FileTooLarge, "too large"));
        }
        buffer[..length].copy_from_slice(&self.current.split_to(length));
        Ok(length)
    }
}

/// What a byte, a quote and a brace of a file may come to in memory, at most and about.
#[derive(Clone, Copy)]
struct Price {
    byte: u64,
    quote: u64,
    brace: u64,
}

impl Price {
    const fn of(kind: DocumentKind) -> Self {
        match kind {
            DocumentKind::BackupResourceList | DocumentKind::RestoreResourceList => {
                Self { byte: 1, quote: 160, brace: 0 }
            }
            DocumentKind::BackupResults | DocumentKind::RestoreResults => {
                Self { byte: 1, quote: 48, brace: 256 }
            }
            DocumentKind::BackupVolumeInfos => Self { byte: 1, quote: 20, brace: 1200 },
            // Its objects are weighed one by one.
            DocumentKind::BackupContents => Self { byte: 0, quote: 0, brace: 0 },
        }
    }

    fn pay(self, bytes: &[u8]) -> u64 {
        if self.byte == 0 {
            return 0;
        }
        let (mut quotes, mut braces) = (0, 0);
        for byte in bytes {
            quotes += u64::from(*byte == b'"');
            braces += u64::from(*byte == b'{');
        }
        self.byte * bytes.len() as u64 + self.quote * quotes + self.brace * braces
    }
}

/// What it unpacks to.
struct Unpacked<'packed, 'refused, A> {
    packed: MultiGzDecoder<Packed<'packed>>,
    total: u64,
    price: Price,
    admit: A,
    refused: &'refused mut Option<DownloadError>,
}

impl<A: FnMut(u64) -> Result<(), DownloadError>> Unpacked<'_, '_, A> {
    /// Asks whether so many bytes more may be kept.
    fn admit(&mut self, bytes: u64) -> std::io::Result<()> {
        (self.admit)(bytes).map_err(|refusal| self.refuse(refusal))
    }

    fn refuse(&mut self, refusal: DownloadError) -> Error {
        *self.refused = Some(refusal);
        Error::other("refused")
    }
}

impl<A: FnMut(u64) -> Result<(), DownloadError>> Read for Unpacked<'_, '_, A> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.refused.is_some() {
            return Err(Error::other("refused"));
        }
        let length = self.packed.read(buffer);
        // In its own words, whatever the one who reads makes of it.
        let length = length.map_err(|error| self.refuse(damaged(&error)))?;
        self.total += length as u64;
        if self.total > MAX_UNPACKED {
            return Err(self.refuse(DownloadError::TooLarge { what: "unpacked", limit: MAX_UNPACKED }));
        }
        let came = self.packed.get_ref().total;
        if self.total > SMALL && self.total / MAX_RATIO > came {
            return Err(self.refuse(DownloadError::Bomb));
        }
        let price = self.price.pay(&buffer[..length]);
        if price > 0 {
            self.admit(price)?;
        }
        Ok(length)
    }
}

/// Reads a tarball's objects: `resources/<resource>/{namespaces/<namespace>,cluster}/<name>.json`.
fn contents<A>(unpacked: &mut Unpacked<'_, '_, A>) -> Result<Vec<SavedObject>, DownloadError>
where
    A: FnMut(u64) -> Result<(), DownloadError>,
{
    let mut objects = Vec::new();
    let failed = |error: Error| damaged(&error);
    // Raw, since a long path is otherwise read whole, however long it is.
    let mut extended: Option<Option<String>> = None;
    // Two readers of one stream: the archive's, and what is paid for between its entries.
    let unpacked = std::cell::RefCell::new(unpacked);
    let mut archive = tar::Archive::new(Shared(&unpacked));
    for entry in archive.entries().map_err(failed)?.raw(true) {
        let mut entry = entry.map_err(failed)?;
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::GNULongName | EntryType::XHeader) {
            let extension = limited(&mut entry, MAX_PATH)?;
            let found =
                if kind == EntryType::XHeader { pax_path(&extension)? } else { Some(long_name(&extension)) };
            if extended.replace(found).is_some() {
                return Err(ambiguous("two extensions of one entry"));
            }
            continue;
        }
        let own = || entry.header().path().map(|path| path.to_string_lossy().into_owned());
        let path = extended.take().flatten().map_or_else(own, Ok).map_err(failed)?;
        let Some(place) = Place::of(&path)? else { continue };
        let size = entry.header().size().map_err(failed)?;
        if size > MAX_OBJECT {
            return Err(DownloadError::TooLarge { what: "in one object", limit: MAX_OBJECT });
        }
        let object = SavedObject::from_json(BufReader::new(&mut entry)).map_err(|error| damaged(&error))?;
        if !place.is_of(&object) {
            return Err(ambiguous(&format!("the {object} under the path {path}")));
        }
        unpacked.borrow_mut().admit(object.weight() as u64).map_err(failed)?;
        objects.push(object);
    }
    objects.shrink_to_fit();
    Ok(objects)
}

/// What a path says of its object.
struct Place<'path> {
    group: &'path str,
    namespace: Option<&'path str>,
    file: &'path str,
}

impl<'path> Place<'path> {
    /// Reads a path; none where it is not that of an object. The same objects stand again under
    /// `<version>-preferredversion`.
    fn of(path: &'path str) -> Result<Option<Self>, DownloadError> {
        let parts: Vec<&str> = path.trim_end_matches('/').split('/').collect();
        if parts.iter().any(|part| matches!(*part, "" | "." | "..")) {
            return Err(ambiguous(&format!("the path {path}")));
        }
        Ok(match parts[..] {
            ["resources", resource, "namespaces", namespace, file] => {
                Some(Self { group: group(resource), namespace: Some(namespace), file })
            }
            ["resources", resource, "cluster", file] => {
                Some(Self { group: group(resource), namespace: None, file })
            }
            _ => None,
        })
    }

    /// Tells whether an object says the same of itself. Velero takes the kind and the namespace from the path, and the rest
    /// from the object.
    fn is_of(&self, object: &SavedObject) -> bool {
        self.group == object.group
            && self.namespace == object.namespace.as_deref()
            && self.file.strip_suffix(".json") == Some(&object.name)
    }
}

/// Takes the group of a resource's name.
fn group(resource: &str) -> &str {
    resource.split_once('.').map_or("", |(_, group)| group)
}

/// Takes the path out of a GNU extension.
fn long_name(extension: &[u8]) -> String {
    let end = extension.iter().position(|byte| *byte == 0).unwrap_or(extension.len());
    String::from_utf8_lossy(&extension[..end]).into_owned()
}

/// Takes the path out of a PAX extension; one that changes where an entry ends is refused.
fn pax_path(extension: &[u8]) -> Result<Option<String>, DownloadError> {
    let mut path = None;
    for record in PaxExtensions::new(extension) {
        let record = record.map_err(|error| damaged(&error))?;
        match record.key() {
            Ok("path") => path = Some(String::from_utf8_lossy(record.value_bytes()).into_owned()),
            Ok(key) if key != "size" && !key.starts_with("GNU.sparse") => {}
            _ => return Err(ambiguous("an extension that says how long an entry is")),
        }
    }
    Ok(path)
}

/// Refuses what Velero and this engine may read in two ways.
fn ambiguous(what: &str) -> DownloadError {
    DownloadError::Damaged(format!("a tarball of Velero does not contain {what}"))
}

fn limited(entry: &mut impl Read, limit: u64) -> Result<Vec<u8>, DownloadError> {
    let mut bytes = Vec::new();
    entry.take(limit + 1).read_to_end(&mut bytes).map_err(|error| damaged(&error))?;
    if bytes.len() as u64 > limit {
        return Err(DownloadError::TooLarge { what: "in a path", limit });
    }
    Ok(bytes)
}

/// A reader that others have too.
struct Shared<'a, R>(&'a std::cell::RefCell<R>);

impl<R: Read> Read for Shared<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().read(buffer)
    }
}

#[cfg(test)]
mod tests;
