//! Reads the manifests of a folder, whatever else lies in it.
//!
//! Read are regular files, and links to regular files of the same folder: Kubernetes mounts a
//! ConfigMap as links into `..data`. Everything else that is named like a manifest is a problem.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use ochre_core::catalog::SourceFile;
use ochre_core::manifest::{Problem, Severity};
use ochre_core::yaml::MAX_DOCUMENT;

use crate::content::ContentError;

/// The most entries that a content folder may have, with all folders in it.
const MAX_ENTRIES: usize = 20_000;
/// The most bytes that its manifests may take together.
const MAX_BYTES: usize = 32 * 1024 * 1024;

/// What a folder holds.
#[derive(Default)]
pub(crate) struct Folder {
    /// Its manifests.
    pub(crate) files: Vec<SourceFile>,
    /// What is named like one and cannot be read as one.
    pub(crate) problems: Vec<Problem>,
}

/// Reads a folder and those in it.
pub(crate) fn read(root: &Path) -> Result<Folder, ContentError> {
    let inside = root.canonicalize().map_err(|source| unreadable(root, source))?;
    let (mut entries, mut bytes) = (0, 0);
    let mut found = Folder::default();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(|source| unreadable(&folder, source))? {
            let entry = entry.map_err(|source| unreadable(&folder, source))?;
            entries += 1;
            if entries > MAX_ENTRIES {
                return Err(too_large(root, format!("more than {MAX_ENTRIES} entries")));
            }
            let path = entry.path();
            let kind = entry.file_type().map_err(|source| unreadable(&path, source))?;
            // Kubernetes keeps the files of a ConfigMap in `..<time>`, and links to each.
            if kind.is_dir() && !entry.file_name().to_string_lossy().starts_with("..") {
                folders.push(path);
            } else if !kind.is_dir() && is_manifest(&path) {
                let relative = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
                match read_file(&path, &inside)? {
                    Ok(text) => {
                        bytes += text.len();
                        found.files.push(SourceFile { path: relative, text });
                    }
                    Err(message) => found.problems.push(problem(relative, message)),
                }
            }
        }
        if bytes > MAX_BYTES {
            return Err(too_large(root, format!("manifests of more than {MAX_BYTES} bytes")));
        }
    }
    Ok(found)
}

/// Tells whether a file is named like a manifest.
pub(crate) fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

/// Reads a manifest, or says why it is none.
fn read_file(path: &Path, inside: &Path) -> Result<Result<String, String>, ContentError> {
    // To open a pipe is to wait for whoever writes into it, and a device may have no end.
    let target: PathBuf = match path.canonicalize() {
        Ok(target) => target,
        Err(error) => return Ok(Err(format!("the file cannot be read: {error}"))),
    };
    if !target.starts_with(inside) {
        return Ok(Err("the file is a link that leaves the content folder".to_owned()));
    }
    let metadata = std::fs::metadata(&target).map_err(|source| unreadable(path, source))?;
    if !metadata.is_file() {
        return Ok(Err("the file is not a regular one".to_owned()));
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(&target).map_err(|source| unreadable(path, source))?;
    file.take(MAX_DOCUMENT as u64 + 1).read_to_end(&mut bytes).map_err(|source| unreadable(path, source))?;
    if bytes.len() > MAX_DOCUMENT {
        return Ok(Err(format!("the file takes more than {MAX_DOCUMENT} bytes")));
    }
    Ok(String::from_utf8(bytes).map_err(|_| "the file is not UTF-8".to_owned()))
}

fn problem(file: String, message: String) -> Problem {
    let hint = Some("a manifest is a file of UTF-8 text, or a link to one in the content folder".to_owned());
    Problem { file, line: 1, column: 1, severity: Severity::Error, message, hint }
}

fn unreadable(path: &Path, source: std::io::Error) -> ContentError {
    ContentError::Unreadable { path: path.to_owned(), source }
}

fn too_large(path: &Path, what: String) -> ContentError {
    ContentError::TooLarge { path: path.to_owned(), what }
}
