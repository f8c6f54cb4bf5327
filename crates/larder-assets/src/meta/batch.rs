//! A file of records: a line that says what follows, then one record a line.

use larder_core::Fault;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::record::MetaRecord;

/// The form of the files; a program reads no higher one.
const FORMAT: u32 = 1;

/// Largest file that is read: sixteen times what is ever written.
pub(super) const FILE_BYTES_MAX: u64 = 128 << 20;

/// Longest first line.
const HEAD_BYTES_MAX: usize = 4_096;

/// What follows.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    larder_meta: u32,
    catalogue: String,
    records: usize,
    /// Of all bytes behind this line: a file that was cut or changed is known by it.
    sha256: String,
}

/// The records of a file.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) records: Vec<MetaRecord>,
    /// Lines of kinds that this program does not know.
    pub(crate) unknown: usize,
}

/// Writes a file.
///
/// # Errors
/// A record does not print.
pub(super) fn encode(catalogue: &str, records: &[MetaRecord]) -> Result<Vec<u8>, Fault> {
    let mut body = Vec::with_capacity(records.len() * 1_024);
    for record in records {
        serde_json::to_writer(&mut body, record).map_err(unprintable)?;
        body.push(b'\n');
    }
    let head = Head {
        larder_meta: FORMAT,
        catalogue: catalogue.to_owned(),
        records: records.len(),
        sha256: hex::encode(Sha256::digest(&body)),
    };
    let mut file = serde_json::to_vec(&head).map_err(unprintable)?;
    file.push(b'\n');
    file.append(&mut body);
    Ok(file)
}

/// Reads a file.
///
/// # Errors
/// A sentence that says why it can't be relied on; none of its records can then.
pub(super) fn decode(file: &[u8]) -> Result<Batch, String> {
    let end = file.iter().take(HEAD_BYTES_MAX).position(|byte| *byte == b'\n');
    let (head, body) = file.split_at(end.ok_or("its first line does not end")? + 1);
    let head: Head = serde_json::from_slice(head).map_err(|error| format!("its first line: {error}"))?;
    if head.larder_meta > FORMAT {
        return Err(format!(
            "it has the form {} of a newer Larder; this one reads {FORMAT}",
            head.larder_meta
        ));
    }
    if hex::encode(Sha256::digest(body)) != head.sha256 {
        return Err("its checksum is wrong: it was cut off or changed".to_owned());
    }
    let mut batch = Batch { records: Vec::with_capacity(head.records.min(100_000)), unknown: 0 };
    for line in body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match serde_json::from_slice(line) {
            Ok(record) => batch.records.push(record),
            // The checksum says that it is as it was written: by a program that knows more.
            Err(_) => batch.unknown += 1,
        }
    }
    Ok(batch)
}

fn unprintable(error: serde_json::Error) -> Fault {
    Fault::internal("a record does not print").caused_by(error)
}

#[cfg(test)]
mod tests {
    use larder_catalog::{AssetRecord, AssetStatus, MetaKind};
    use larder_core::{Ambient, AssetId, Timestamp};
    use serde_json::json;

    use super::{super::record::About, *};

    fn asset() -> AssetRecord {
        let at = Timestamp::from_millis(1_772_366_400_123);
        AssetRecord {
            id: AssetId::new(&Ambient::system()),
            bucket: "media".parse().unwrap(),
            key: "a/ü \"b\".jpg".parse().unwrap(),
            version: 3,
            status: AssetStatus::Ready,
            store: "local".into(),
            place: "media/a/ü \"b\".jpg".into(),
            fingerprint: "1-2-3".into(),
            size_bytes: 5,
            sha256: "s".into(),
            md5: "m".into(),
            content_type: "image/jpeg".into(),
            original_filename: Some("b\n.jpg".into()),
            owner: Some("u-7".into()),
            metadata: json!({"album": 7, "note": "zwei\nZeilen"}),
            tags: vec!["x".into()],
            width_px: Some(640),
            height_px: Some(480),
            frames: Some(1),
            has_gps: true,
            description: Some(json!({"blurhash": "L"})),
            perceptual_hash: Some(-5),
            created_at: at,
            written_at: at,
            updated_at: at,
            expires_at: Some(at),
            deleted_at: Some(at),
            trash_place: Some(".larder/trash/x".into()),
        }
    }

    fn records() -> Vec<MetaRecord> {
        vec![
            MetaRecord { seq: 4, about: asset().into() },
            MetaRecord { seq: 4, about: About::gone(MetaKind::Variant, "x".into()) },
        ]
    }

    #[test]
    fn every_field_of_an_asset_reads_back() {
        let written = asset();
        let file = encode("c1", &[MetaRecord { seq: 9, about: written.clone().into() }]).unwrap();
        let read = decode(&file).unwrap().records.remove(0);
        assert_eq!(read.seq, 9);
        let About::Asset(meta) = read.about else { panic!("{:?}", read.about) };
        assert_eq!(AssetRecord::from(*meta), written);
    }

    #[test]
    fn a_file_that_was_cut_or_changed_anywhere_is_refused() {
        let file = encode("c1", &records()).unwrap();
        assert_eq!(decode(&file).unwrap().records.len(), 2);
        for cut in 0..file.len() {
            assert!(decode(&file[..cut]).is_err(), "cut at {cut}");
        }
        let body = file.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        for at in body..file.len() {
            let mut changed = file.clone();
            changed[at] ^= 1;
            assert!(decode(&changed).is_err(), "changed at {at}");
        }
    }

    #[test]
    fn what_a_newer_program_wrote_is_left_out_and_told() {
        let mut body = encode("c1", &records()).unwrap();
        let newer =
            String::from_utf8(body.clone()).unwrap().replacen("\"larder_meta\":1", "\"larder_meta\":2", 1);
        assert!(decode(newer.as_bytes()).unwrap_err().contains("newer"));
        let lines = br#"{"seq":1,"dream":{"id":"x"}}"#;
        let head = Head {
            larder_meta: 1,
            catalogue: "c".into(),
            records: 1,
            sha256: hex::encode(Sha256::digest(lines)),
        };
        body = serde_json::to_vec(&head).unwrap();
        body.push(b'\n');
        body.extend_from_slice(lines);
        let batch = decode(&body).unwrap();
        assert_eq!((batch.records.len(), batch.unknown), (0, 1));
    }
}
