//! The documents that S3 speaks in. What is read is cut off at [`DOCUMENT_BYTES_MAX`]; unknown elements are
//! skipped.

use std::fmt::Write;

use serde::{Deserialize, de::DeserializeOwned};

/// Largest document that is read: a page of 1,000 keys of 1,024 bytes each, all of them escaped, is smaller.
pub(super) const DOCUMENT_BYTES_MAX: usize = 16 << 20;

/// Reads a document.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    quick_xml::de::from_reader(body).map_err(|error| error.to_string())
}

/// Whether a document is an error: CopyObject and CompleteMultipartUpload answer 200 before they know.
pub(super) fn is_error(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(&body[..body.len().min(1_024)]);
    let rest = text.trim_start();
    let rest = match rest.strip_prefix("<?xml") {
        Some(declared) => declared.split_once("?>").map_or("", |(_, rest)| rest).trim_start(),
        None => rest,
    };
    rest.starts_with("<Error")
}

/// An error.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Error {
    pub(super) code: String,
    pub(super) message: String,
    pub(super) region: Option<String>,
}

/// A page of ListObjectsV2.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Page {
    #[serde(default)]
    pub(super) contents: Vec<Content>,
    #[serde(default)]
    pub(super) common_prefixes: Vec<CommonPrefix>,
    #[serde(default)]
    pub(super) is_truncated: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Content {
    pub(super) key: String,
    pub(super) size: u64,
    pub(super) last_modified: String,
    #[serde(rename = "ETag")]
    pub(super) e_tag: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CommonPrefix {
    pub(super) prefix: String,
}

/// The answer of CreateMultipartUpload.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Begun {
    pub(super) upload_id: String,
}

/// The answers of CopyObject, UploadPartCopy and CompleteMultipartUpload.
#[derive(Debug, Deserialize)]
pub(super) struct Written {
    #[serde(rename = "ETag")]
    pub(super) e_tag: String,
}

/// A page of ListMultipartUploads.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Uploads {
    #[serde(default)]
    pub(super) upload: Vec<Upload>,
    #[serde(default)]
    pub(super) is_truncated: bool,
    pub(super) next_key_marker: Option<String>,
    pub(super) next_upload_id_marker: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Upload {
    pub(super) key: String,
    pub(super) upload_id: String,
    pub(super) initiated: String,
}

/// A part of an upload, for its completion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) e_tag: String,
    /// In Base64, if the upload has such checksums.
    pub(super) sha256: Option<String>,
}

/// The body of CompleteMultipartUpload.
pub(super) fn complete(parts: &[Part]) -> String {
    let mut text = String::from("<CompleteMultipartUpload>");
    for (index, part) in parts.iter().enumerate() {
        let number = index + 1;
        let e_tag = quick_xml::escape::escape(&part.e_tag);
        // Writing to a text can't fail.
        let _ = write!(text, "<Part><PartNumber>{number}</PartNumber><ETag>{e_tag}</ETag>");
        if let Some(sha256) = &part.sha256 {
            let _ = write!(text, "<ChecksumSHA256>{sha256}</ChecksumSHA256>");
        }
        text += "</Part>";
    }
    text + "</CompleteMultipartUpload>"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_with_and_without_optional_elements() {
        let page: Page = read(
            br#"<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name>
            <Contents><Key>a &amp; b</Key><LastModified>2026-03-01T12:00:00.000Z</LastModified><ETag>&quot;e&quot;</ETag><Size>3</Size><StorageClass>STANDARD</StorageClass></Contents>
            <CommonPrefixes><Prefix>c/</Prefix></CommonPrefixes><IsTruncated>true</IsTruncated></ListBucketResult>"#,
        )
        .unwrap();
        assert_eq!(page.contents[0].key, "a & b");
        assert_eq!(page.contents[0].e_tag.as_deref(), Some("\"e\""));
        assert_eq!(page.common_prefixes[0].prefix, "c/");
        assert!(page.is_truncated);
        let empty: Page =
            read(b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>").unwrap();
        assert!(empty.contents.is_empty());
        assert!(read::<Page>(b"<html>").is_err());
    }

    #[test]
    fn an_error_that_comes_with_success_is_seen() {
        assert!(is_error(b"<?xml version=\"1.0\"?>\n<Error><Code>InternalError</Code></Error>"));
        assert!(is_error(b"  <Error/>"));
        assert!(!is_error(b"<?xml version=\"1.0\"?><CopyObjectResult><ETag>x</ETag></CopyObjectResult>"));
    }

    #[test]
    fn tags_are_escaped() {
        let part = Part { e_tag: "\"a\"".to_owned(), sha256: Some("x=".to_owned()) };
        assert_eq!(
            complete(&[part]),
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>&quot;a&quot;</ETag>\
             <ChecksumSHA256>x=</ChecksumSHA256></Part></CompleteMultipartUpload>"
        );
    }
}
