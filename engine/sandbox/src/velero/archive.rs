//! The tarball of a backup: one JSON file per object, twice.

use std::collections::BTreeMap;
use std::io::{self, Read};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::Value;

use super::cluster::Resource;
use super::{name, namespace};

/// One object of a backup.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) resource: Resource,
    pub(crate) object: Value,
}

/// Names an object of a tarball: `plural.group`, namespace (empty for cluster scope), name.
pub(crate) type ItemKey = (String, String, String);

impl Item {
    /// Returns the word of the resource list: `namespace/name`, or the name alone.
    pub(crate) fn entry(&self) -> String {
        entry(namespace(&self.object), name(&self.object))
    }

    pub(crate) fn key(&self) -> ItemKey {
        (self.resource.name(), namespace(&self.object).to_owned(), name(&self.object).to_owned())
    }

    /// Returns the line of the resource list under which the object stands, such as `apps/v1/Deployment`.
    pub(crate) fn line(&self) -> String {
        format!("{}/{}", self.resource.api_version(), self.resource.kind)
    }
}

/// Joins namespace and name as resource lists do.
pub(crate) fn entry(namespace: &str, name: &str) -> String {
    if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") }
}

/// Packs objects as Velero does.
pub(crate) fn pack<'a>(items: impl Iterator<Item = &'a Item>, modified: u64) -> io::Result<Vec<u8>> {
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for item in items {
        let (resource, version) = (item.resource.name(), &item.resource.version);
        let place = match namespace(&item.object) {
            "" => format!("cluster/{}.json", name(&item.object)),
            namespace => format!("namespaces/{namespace}/{}.json", name(&item.object)),
        };
        let json = serde_json::to_vec(&item.object)?;
        files.insert(format!("resources/{resource}/{version}-preferredversion/{place}"), json.clone());
        files.insert(format!("resources/{resource}/{place}"), json);
    }
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    append(&mut tar, "metadata/version", b"1.1.0\n", modified)?;
    for (path, json) in &files {
        append(&mut tar, path, json, modified)?;
    }
    tar.into_inner()?.finish()
}

/// Unpacks the objects of a tarball; only the paths without a version count, as every backup has them.
pub(crate) fn unpack(bytes: &[u8]) -> io::Result<BTreeMap<ItemKey, Value>> {
    let mut tar = tar::Archive::new(GzDecoder::new(bytes));
    let mut objects = BTreeMap::new();
    for file in tar.entries()? {
        let mut file = file?;
        let path = file.path()?.to_string_lossy().into_owned();
        let segments: Vec<&str> = path.split('/').collect();
        let key = match segments.as_slice() {
            ["resources", resource, "cluster", file] => (resource, "", file),
            ["resources", resource, "namespaces", namespace, file] => (resource, *namespace, file),
            _ => continue,
        };
        let (resource, namespace, Some(name)) = (key.0, key.1, key.2.strip_suffix(".json")) else {
            continue;
        };
        let mut json = Vec::new();
        file.read_to_end(&mut json)?;
        let object = serde_json::from_slice(&json)?;
        // Backups may be made by hand: what is no object of Kubernetes is passed over.
        if is_object(&object) {
            let key = ((*resource).to_owned(), namespace.to_owned(), name.to_owned());
            objects.insert(key, object);
        }
    }
    Ok(objects)
}

fn is_object(value: &Value) -> bool {
    let map_or_absent = |value: &Value| value.is_object() || value.is_null();
    let metadata = &value["metadata"];
    metadata.is_object()
        && map_or_absent(&metadata["labels"])
        && map_or_absent(&metadata["annotations"])
        && map_or_absent(&value["spec"])
}

fn append<W: io::Write>(
    tar: &mut tar::Builder<W>,
    path: &str,
    bytes: &[u8],
    modified: u64,
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    header.set_mode(0o755);
    header.set_mtime(modified);
    header.set_entry_type(tar::EntryType::Regular);
    tar.append_data(&mut header, path, bytes)
}
