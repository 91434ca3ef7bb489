use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use ochre_core::velero::{Document, DocumentKind};
use serde_json::json;
use tokio_util::bytes::Bytes;

use super::{MAX_OBJECT, MAX_PATH, read};
use crate::download::DownloadError;

const MIB: usize = 1024 * 1024;

fn packed(write: impl FnOnce(&mut GzEncoder<Vec<u8>>)) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    write(&mut encoder);
    encoder.finish().unwrap()
}

fn header(path: &str, kind: tar::EntryType, size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    // As it is: `set_path` refuses some.
    header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_cksum();
    header
}

fn tarball(entries: &[(&str, tar::EntryType, Vec<u8>)]) -> Vec<u8> {
    packed(|encoder| {
        let mut tar = tar::Builder::new(encoder);
        for (path, kind, bytes) in entries {
            tar.append(&header(path, *kind, bytes.len() as u64), bytes.as_slice()).unwrap();
        }
        tar.finish().unwrap();
    })
}

fn object(name: &str) -> Vec<u8> {
    json!({"kind": "ConfigMap", "metadata": {"name": name, "namespace": "chat"}, "data": {"a": "b"}})
        .to_string()
        .into_bytes()
}

/// Reads a file that comes in chunks, with so much room; says too how much of that was taken.
fn unpack(file: &[u8], kind: DocumentKind, room: u64) -> (Result<Document, DownloadError>, u64) {
    let chunks: Vec<Bytes> = file.chunks(MIB).map(Bytes::copy_from_slice).collect();
    let (sender, body) = tokio::sync::mpsc::channel(chunks.len().max(1));
    for chunk in chunks {
        sender.try_send(Ok(chunk)).unwrap();
    }
    drop(sender);
    let mut taken = 0;
    let admit = |bytes| {
        taken += bytes;
        if taken > room { Err(DownloadError::Crowded) } else { Ok(()) }
    };
    let read = read(body, kind, admit);
    (read, taken)
}

fn check_refused(file: &[u8], kind: DocumentKind, expected: &str) {
    let (read, taken) = unpack(file, kind, 32 * MIB as u64);
    let error = read.expect_err(expected).to_string();
    assert!(error.contains(expected), "{error}");
    assert!(taken <= 64 * MIB as u64, "{expected}: {taken} bytes were taken");
}

fn zeros(count: usize) -> Vec<u8> {
    packed(|encoder| (0..count).for_each(|_| encoder.write_all(&vec![0; MIB]).unwrap()))
}

#[test]
fn what_unpacks_to_too_much_is_refused() {
    use DocumentKind::{BackupContents, BackupResourceList, BackupResults, BackupVolumeInfos};
    // The end of a tarball is zeros, so this one is empty and goes on.
    check_refused(&zeros(64), BackupContents, "hundreds of times its size");
    for kind in [BackupResourceList, BackupResults, BackupVolumeInfos] {
        // Zeros are no JSON; what is white is.
        let blanks = packed(|encoder| (0..64).for_each(|_| encoder.write_all(&vec![b' '; MIB]).unwrap()));
        let (read, _) = unpack(&blanks, kind, u64::MAX);
        assert!(matches!(read, Err(DownloadError::Bomb)), "{kind:?}");
    }
}

#[test]
fn what_would_take_too_much_memory_is_refused() {
    let lists = [
        (DocumentKind::BackupResourceList, "{\"v1/Pod\":[", "\"\","),
        (DocumentKind::BackupResourceList, "{\"v1/Pod\":[", "\"chat/a\","),
        (DocumentKind::RestoreResults, "{\"errors\":{\"velero\":[", "\"\","),
        (DocumentKind::BackupVolumeInfos, "[", "{},"),
        (DocumentKind::BackupVolumeInfos, "[", "{\"pvcName\":\"a\"},"),
    ];
    for (kind, start, unit) in lists {
        let text = format!("{start}{}", unit.repeat(4 * MIB / unit.len()));
        check_refused(&packed(|encoder| encoder.write_all(text.as_bytes()).unwrap()), kind, "no room");
    }
}

#[test]
fn what_is_kept_of_a_file_is_what_it_said_it_would_take() {
    let list = json!({"v1/Pod": (0..1000).map(|number| format!("chat/pod-{number}")).collect::<Vec<_>>()});
    let file = packed(|encoder| encoder.write_all(list.to_string().as_bytes()).unwrap());
    let (read, taken) = unpack(&file, DocumentKind::BackupResourceList, u64::MAX);
    assert!(read.unwrap().weight() <= taken);
}

#[test]
fn a_tarball_is_read_entry_by_entry() {
    use tar::EntryType::{GNULongName, Regular, XHeader};
    let name = "n".repeat(200);
    let long = format!("resources/configmaps/namespaces/chat/{name}.json");
    let value = format!("path={long}\n");
    let record = |length: usize| format!("{length} {value}");
    // The length of a record counts itself.
    let pax = record(record(value.len() + 4).len());
    let file = tarball(&[
        ("resources/configmaps/namespaces/chat/one.json", Regular, object("one")),
        ("resources/configmaps/v1-preferredversion/namespaces/chat/one.json", Regular, object("one")),
        ("long", GNULongName, format!("{long}\0").into_bytes()),
        ("cut", Regular, object(&name)),
        ("pax", XHeader, pax.into_bytes()),
        ("cut", Regular, object(&name)),
        ("metadata/version", Regular, b"1.1.0".to_vec()),
    ]);
    let (read, _) = unpack(&file, DocumentKind::BackupContents, u64::MAX);
    let Document::Contents(objects) = read.unwrap() else { panic!("it is a tarball") };
    let names: Vec<&str> = objects.iter().map(|object| object.name.as_str()).collect();
    assert_eq!(names, ["one", &name, &name]);
}

/// What Velero would restore, and another reader would not see or take for something else.
#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    use tar::EntryType::{GNULongName, Regular, XHeader};
    const PATH: &str = "resources/configmaps/namespaces/chat/one.json";
    for path in [
        "./resources/configmaps/namespaces/chat/one.json",
        "resources//configmaps/namespaces/chat/one.json",
        "metadata/../resources/configmaps/namespaces/chat/one.json",
        "/resources/configmaps/namespaces/chat/one.json",
        "resources/configmaps/namespaces/shop/one.json",
        "resources/configmaps/cluster/one.json",
        "resources/configmaps/namespaces/chat/two.json",
        "resources/configmaps/namespaces/chat/one",
        "resources/configmaps.apps/namespaces/chat/one.json",
    ] {
        let file = tarball(&[(path, Regular, object("one"))]);
        check_refused(&file, DocumentKind::BackupContents, "a tarball of Velero does not contain");
    }
    for extensions in [
        vec![("pax", XHeader, b"10 size=0\n".to_vec()), (PATH, Regular, object("one"))],
        vec![("pax", XHeader, b"8 path=\n".to_vec()), (PATH, Regular, object("one"))],
        vec![("pax", XHeader, b"99 path=x\n".to_vec()), (PATH, Regular, object("one"))],
        vec![("pax", XHeader, b"22 GNU.sparse.size=10\n".to_vec()), (PATH, Regular, object("one"))],
        vec![
            ("long", GNULongName, b"metadata/x\0".to_vec()),
            ("pax", XHeader, b"11 mtime=1\n".to_vec()),
            (PATH, Regular, object("one")),
        ],
    ] {
        check_refused(&tarball(&extensions), DocumentKind::BackupContents, "damaged: ");
    }
}

#[test]
fn an_entry_that_is_too_large_is_refused() {
    use tar::EntryType::{GNULongName, Regular, XHeader};
    let path = "resources/configmaps/namespaces/chat/one.json";
    let random: Vec<u8> = (0..=250_u8).cycle().map(|byte| byte.wrapping_mul(byte)).take(3 * MIB).collect();
    check_refused(
        &tarball(&[(path, Regular, random.clone())]),
        DocumentKind::BackupContents,
        &format!("{MAX_OBJECT} bytes in one object"),
    );
    for kind in [GNULongName, XHeader] {
        let file = tarball(&[("long", kind, random.clone()), (path, Regular, object("one"))]);
        check_refused(&file, DocumentKind::BackupContents, &format!("{MAX_PATH} bytes in a path"));
    }
}

#[test]
fn a_file_that_ends_early_is_damaged() {
    let mut file =
        tarball(&[("resources/configmaps/namespaces/chat/one.json", tar::EntryType::Regular, object("one"))]);
    // All objects are there, and the checksum is not.
    file.truncate(file.len() - 8);
    check_refused(&file, DocumentKind::BackupContents, "damaged");
}
