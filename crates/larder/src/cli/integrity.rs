//! Arguments of the commands about catalogue and store: `adopt`, `reindex`, `scrub`.

use clap::Args;
use larder_assets::VariantRule;
use larder_core::text::{ByteSize, parse_bytes};

/// Make assets of files that lie in the store already, where they lie: nothing is moved, copied or
/// written beside them.
///
/// Each file is judged by its bytes as an upload is; what the bucket does not take is reported and left
/// alone. Variants are made when they are asked for. A second run registers nothing twice.
#[derive(Debug, Args)]
pub struct Adopt {
    /// Bucket that gets the assets
    #[arg(short, long)]
    pub bucket: String,
    /// Folder of the store that holds the files (default: the bucket's own). In the bucket's own folder the
    /// key is what follows that folder; elsewhere it is the whole path
    #[arg(long, value_name = "FOLDER")]
    pub prefix: Option<String>,
    /// Outside the bucket's own folder, leave this folder off the front of keys
    #[arg(long, value_name = "FOLDER")]
    pub strip: Option<String>,
    /// Files of this name, whatever their extension, are the originals of the variants beside them
    #[arg(long, value_name = "NAME")]
    pub original: Option<String>,
    /// Files beside an original that are its variants: the preset, and their path from the original's folder
    /// on, without extension; {stem} stands for the original's name. May be repeated. Without it every file is
    /// an asset of its own
    #[arg(long = "variant", value_name = "PRESET=PATH")]
    pub variants: Vec<VariantRule>,
    /// Decode every picture in full, as an upload is, instead of inspecting its header
    #[arg(long)]
    pub verify: bool,
    /// Take files whose extension says something else than their bytes
    #[arg(long)]
    pub ignore_extensions: bool,
    /// Only count, and say what would be refused
    #[arg(long)]
    pub dry_run: bool,
}

/// Rebuild a lost catalogue from what lies in the store: the records beside the bytes first, then what has
/// none, by its path.
///
/// Ids, keys, metadata, versions and the trash are as they were. Uploads that had not become assets, jobs
/// and API keys are not in the store.
#[derive(Debug, Args)]
pub struct Reindex {
    /// Also into a catalogue that holds assets; what it holds stays
    #[arg(long)]
    pub merge: bool,
    /// Hash every byte, and decode what has no record in full
    #[arg(long)]
    pub verify: bool,
    /// Only say what would be rebuilt
    #[arg(long)]
    pub dry_run: bool,
}

/// Compare catalogue and store in both directions: bytes that are gone, changed or at the wrong place, and
/// bytes without a record.
///
/// One that is cut off goes on where it stopped. Exit code 1 if problems remain.
#[derive(Debug, Args)]
pub struct Scrub {
    /// Bucket (default: all)
    pub bucket: Option<String>,
    /// Hash this share of all bytes, chosen by chance, such as 5%
    #[arg(long, value_name = "PERCENT", value_parser = percent, conflicts_with = "full")]
    pub sample: Option<f64>,
    /// Hash all bytes
    #[arg(long)]
    pub full: bool,
    /// Hash at most so many bytes a second, such as 20MiB
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub rate: Option<ByteSize>,
    /// Mend what can be mended without a loss: variants are made again, moved files moved back, damaged
    /// originals marked so that they are not served
    #[arg(long)]
    pub repair: bool,
    /// Make assets of files without a record
    #[arg(long)]
    pub adopt: bool,
    /// Files without a record are no reason for exit code 1
    #[arg(long)]
    pub allow_orphans: bool,
    /// Begin anew, although an earlier scrub was cut off
    #[arg(long)]
    pub restart: bool,
}

/// Reads `5%` or `5` as a share.
fn percent(text: &str) -> Result<f64, String> {
    let number = text.trim_end_matches('%').trim();
    match number.parse::<f64>() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent / 100.0),
        _ => Err("write a number from 0 to 100, such as 5%".to_owned()),
    }
}

fn bytes(text: &str) -> Result<ByteSize, String> {
    parse_bytes(text).map(ByteSize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_number_of_percent() {
        assert_eq!((percent("5%"), percent("100")), (Ok(0.05), Ok(1.0)));
        for wrong in ["", "x", "-1", "101%", "nan"] {
            assert!(percent(wrong).is_err(), "{wrong}");
        }
    }
}
