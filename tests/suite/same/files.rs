//! What is in the bucket, and what is downloaded from it.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;

use flate2::read::GzDecoder;
use serde_json::Value;

use super::script::Script;

/// Writes down the files of a folder, and what they say.
pub(super) fn note_folder(script: &mut Script, folder: &str) {
    let bucket = script.world.bucket();
    let mut files = BTreeSet::new();
    list(&bucket.join(folder), folder, &mut files);
    if files.is_empty() {
        script.note(&format!("{folder}: nothing"));
    }
    for file in files {
        script.note(&format!("{file}:"));
        let bytes = std::fs::read(bucket.join(&file)).unwrap();
        if file.ends_with(".tar.gz") {
            note_archive(script, &bytes);
        } else if file.ends_with("-logs.gz") {
            note_log(script, &unpacked(&bytes));
        } else if file.ends_with("-results.gz") || file.ends_with(".json.gz") {
            let content: Value = serde_json::from_slice(&unpacked(&bytes)).unwrap();
            script.show(&content);
        } else if let Ok(content) = serde_json::from_slice(&bytes) {
            script.show(&content);
        }
    }
    script.note("");
}

/// Downloads a file and writes down what it is.
pub(super) async fn note_download(script: &mut Script, url: &str) {
    let answer = reqwest::get(url).await.unwrap();
    let code = answer.status().as_u16();
    let bytes = answer.bytes().await.unwrap();
    let (path, _) = url.split_once('?').unwrap_or((url, ""));
    let file = path.rsplit('/').next().unwrap();
    let form = if bytes.starts_with(&[0x1f, 0x8b]) { "gzip" } else { "plain" };
    script.note(&format!("{file}: {code} {form}"));
}

fn list(folder: &Path, key: &str, files: &mut BTreeSet<String>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        let entry = entry.unwrap();
        let key = format!("{key}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            list(&entry.path(), &key, files);
        } else {
            files.insert(key);
        }
    }
}

/// Writes down the paths of a tarball, in no order.
fn note_archive(script: &mut Script, bytes: &[u8]) {
    let mut archive = tar::Archive::new(GzDecoder::new(bytes));
    let entries = archive.entries().unwrap().map(|entry| {
        let entry = entry.unwrap();
        format!(
            "  {:?} {:o} {}",
            entry.header().entry_type(),
            entry.header().mode().unwrap(),
            entry.path().unwrap().display()
        )
    });
    for line in entries.collect::<BTreeSet<_>>() {
        script.note(&line);
    }
}

/// Writes down of a log in what form it is: Velero's words are its own.
fn note_log(script: &mut Script, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    // Velero also warns of what it does not count.
    let lines = text.lines().filter(|line| !line.contains(" level=warning "));
    let forms: BTreeSet<String> = lines.map(form).collect();
    for form in forms {
        script.note(&format!("  {form}"));
    }
}

/// Names the level of a line, and the fields that every line has.
fn form(line: &str) -> String {
    let level = line.split_whitespace().find(|word| word.starts_with("level=")).unwrap_or("no level");
    let begins = line.starts_with("time=\"");
    let has = |field: &str| line.contains(&format!(" {field}="));
    let fields = ["level", "msg", "logSource", "backup", "restore"].into_iter().filter(|field| has(field));
    format!("{}{level}: {}", if begins { "time " } else { "" }, fields.collect::<Vec<_>>().join(" "))
}

fn unpacked(bytes: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut content).unwrap();
    content
}
