//! From what was noted to the addresses that caches know.

use larder_catalog::CdnPurge;
use larder_core::BucketName;
use larder_store::Place;
use url::Url;

use super::{
    Purge, asset_tag, bucket_tag,
    note::Reason,
    trace::{Made, Trace},
};
use crate::{
    larder::Larder,
    links::{VariantLink, encode_path},
    policy::Visibility,
};

/// The extension that lets `Accept` decide.
const NEGOTIATED: &str = "auto";

/// Addresses as they are gathered: each once, in order.
#[derive(Debug, Default)]
struct Addresses {
    urls: Vec<String>,
    paths: Vec<String>,
}

impl Addresses {
    /// Adds an address of a store or of Larder: whole, or a path if nobody knows its host.
    fn add(&mut self, address: String) {
        let path = match Url::parse(&address) {
            Ok(url) => url[url::Position::BeforePath..].to_owned(),
            Err(_) => address.clone(),
        };
        let is_whole = path.len() < address.len();
        push_new(&mut self.paths, path);
        if is_whole {
            push_new(&mut self.urls, address);
        }
    }

    /// The same with and without the version.
    fn add_versions(&mut self, address: String, version: &str) {
        self.add(format!("{address}?v={version}"));
        self.add(address);
    }
}

fn push_new(all: &mut Vec<String>, one: String) {
    if !all.contains(&one) {
        all.push(one);
    }
}

impl Larder {
    /// What a hook is told of these notes, which have one reason.
    pub(super) async fn purge_of(&self, reason: Reason, notes: &[&CdnPurge]) -> Purge {
        let mut purge = Purge { reason: reason.word(), ..Purge::default() };
        for note in notes {
            let mut addresses = Addresses::default();
            match note.asset_id {
                Some(asset) => {
                    purge.tags.push(asset_tag(asset));
                    // A note of a newer version may hold what this one can't read; the tag remains.
                    let traces = note
                        .traces
                        .iter()
                        .filter_map(|trace| serde_json::from_value::<Trace>(trace.clone()).ok());
                    traces.for_each(|trace| self.add_trace(&mut addresses, &note.bucket, &trace));
                }
                None => {
                    purge.tags.push(bucket_tag(&note.bucket));
                    self.add_bucket(&mut addresses, &note.bucket).await;
                }
            }
            purge.urls.append(&mut addresses.urls);
            purge.paths.append(&mut addresses.paths);
        }
        purge
    }

    fn add_trace(&self, addresses: &mut Addresses, bucket: &BucketName, trace: &Trace) {
        let lay = trace
            .lay
            .as_ref()
            .and_then(|(store, place)| self.store(store).ok()?.public_url(&place.parse::<Place>().ok()?));
        if let Some(url) = lay {
            addresses.add_versions(url.into(), &trace.version);
        }
        match &trace.made {
            None => {
                let key = encode_path(trace.key.as_str());
                addresses.add_versions(self.links().absolute(&format!("/m/{bucket}/{key}")), &trace.version);
                if let Some((path, _)) = self.settings().cdn.alias.as_ref().filter(|(_, of)| of == bucket) {
                    addresses.add_versions(self.links().absolute(&format!("{path}{key}")), &trace.version);
                }
            }
            Some(made) => self.add_variant(addresses, bucket, trace, made),
        }
    }

    fn add_variant(&self, addresses: &mut Addresses, bucket: &BucketName, trace: &Trace, made: &Made) {
        let is_preset = made.recipe.starts_with("p:");
        // Unsigned, and signed by Larder for a bucket that anybody may read. Signatures of keys are known to
        // those who hold them, and the tag stands for what they signed.
        for (open, extension) in
            [(true, made.extension.as_str()), (true, NEGOTIATED), (false, made.extension.as_str())]
        {
            if open && !is_preset {
                continue;
            }
            let link = VariantLink {
                recipe: &made.recipe,
                extension,
                version: &trace.version,
                open,
                visibility: Visibility::Public,
            };
            let url = self.links().variant(bucket, &trace.key, &link);
            if let Some((plain, _)) = url.split_once('?') {
                addresses.add(plain.to_owned());
            }
            addresses.add(url);
        }
    }

    /// Pictures of a bucket can't be told from others by how their paths begin, so that all of them go.
    async fn add_bucket(&self, addresses: &mut Addresses, bucket: &BucketName) {
        addresses.add(self.links().absolute(&format!("/m/{bucket}/*")));
        addresses.add(self.links().absolute("/i/*"));
        if let Some((path, _)) = self.settings().cdn.alias.as_ref().filter(|(_, of)| of == bucket) {
            addresses.add(self.links().absolute(&format!("{path}*")));
        }
        let Ok(bucket) = self.bucket(bucket).await else { return };
        let Ok(folder) = bucket.prefix().parse::<Place>() else { return };
        for (_, store) in self.stores().iter() {
            if let Some(url) = store.public_url(&folder) {
                addresses.add(format!("{url}/*"));
            }
        }
    }
}
