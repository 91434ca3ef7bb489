//! The object store: a folder per bucket, with the keys that Velero gives its files.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

/// Top-level folders that Velero accepts in its bucket.
const FOLDERS: [&str; 6] = ["backups", "restores", "restic", "kopia", "metadata", "plugins"];

/// Gives access to the folder of one storage location.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    folder: PathBuf,
}

impl Bucket {
    /// Finds the folder of a BackupStorageLocation below the data folder.
    pub(crate) fn of(data: &Path, location: &Value) -> Self {
        let storage = &location["spec"]["objectStorage"];
        let part = |field: &str| storage[field].as_str().unwrap_or_default().trim_matches('/').to_owned();
        let mut folder = data.join(safe(&part("bucket")));
        if !part("prefix").is_empty() {
            folder.push(safe(&part("prefix")));
        }
        Self { folder }
    }

    /// Makes the folder, as somebody makes the bucket before Velero uses it.
    pub(crate) fn create(&self) -> io::Result<()> {
        std::fs::create_dir_all(&self.folder)
    }

    /// Checks that the folder can be read and holds nothing foreign; says what is wrong.
    pub(crate) fn check(&self) -> Result<(), String> {
        let entries = std::fs::read_dir(&self.folder)
            .map_err(|error| format!("backup store cannot be listed: {error}"))?;
        let mut foreign = Vec::new();
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.path().is_dir() && !FOLDERS.contains(&name.as_str()) {
                foreign.push(name);
            }
        }
        foreign.sort();
        if foreign.is_empty() {
            Ok(())
        } else {
            Err(format!("Backup store contains invalid top-level directories: [{}]", foreign.join(" ")))
        }
    }

    /// Lists the backups that have a description.
    pub(crate) fn backups(&self) -> io::Result<Vec<String>> {
        // A bucket without backups has no such folder yet.
        if !self.folder.join("backups").exists() {
            std::fs::read_dir(&self.folder)?;
            return Ok(Vec::new());
        }
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.folder.join("backups"))? {
            let entry = entry?;
            if entry.path().join("velero-backup.json").is_file() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// Tells whether a key exists; fails where the bucket itself does not.
    pub(crate) fn exists(&self, key: &str) -> io::Result<bool> {
        std::fs::read_dir(&self.folder)?;
        Ok(self.path(key).is_file())
    }

    pub(crate) fn read(&self, key: &str) -> io::Result<Vec<u8>> {
        std::fs::read(self.path(key))
    }

    pub(crate) fn read_json(&self, key: &str) -> io::Result<Value> {
        serde_json::from_slice(&self.read(key)?).map_err(io::Error::from)
    }

    pub(crate) fn write(&self, key: &str, bytes: &[u8]) -> io::Result<()> {
        std::fs::read_dir(&self.folder)?;
        let path = self.path(key);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        // Readers see the whole file or none, as in an object store.
        let unfinished = path.with_extension("unfinished");
        std::fs::write(&unfinished, bytes)?;
        std::fs::rename(unfinished, path)
    }

    /// Writes a file that is compressed, as all but the description are.
    pub(crate) fn write_gzip(&self, key: &str, bytes: &[u8]) -> io::Result<()> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes)?;
        self.write(key, &encoder.finish()?)
    }

    /// Reads a file that is compressed.
    pub(crate) fn read_gzip(&self, key: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut decoder = flate2::read::GzDecoder::new(io::Cursor::new(self.read(key)?));
        io::Read::read_to_end(&mut decoder, &mut bytes)?;
        Ok(bytes)
    }

    /// Removes everything below a folder; what is absent is gone.
    pub(crate) fn remove(&self, folder: &str) -> io::Result<()> {
        match std::fs::remove_dir_all(self.path(folder)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    /// Returns where a key lies.
    pub(crate) fn path(&self, key: &str) -> PathBuf {
        key.split('/').fold(self.folder.clone(), |path, part| path.join(safe(part)))
    }
}

/// Keeps a name from leading out of the folder.
fn safe(part: &str) -> &str {
    if part == ".." || part.contains('\\') || part.starts_with('/') { "_" } else { part }
}
