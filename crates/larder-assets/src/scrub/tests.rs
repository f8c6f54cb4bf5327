//! Every kind of damage is found, and what is mended is mended.

use std::time::Duration;

use larder_core::{Code, text::Span};
use larder_testkit::fixtures;

use super::{Problem, ScrubOptions, ScrubReport};
use crate::{
    BucketPolicy, Larder, Unfollowed,
    home::{Home, bucket, key, put, read, read_preset, work},
};

fn full() -> ScrubOptions {
    ScrubOptions { sample: 1.0, ..ScrubOptions::default() }
}

async fn scrub(larder: &Larder, options: &ScrubOptions) -> ScrubReport {
    larder.scrub(options, &Unfollowed).await.unwrap()
}

fn problems(report: &ScrubReport) -> Vec<(Problem, String, bool)> {
    let mut found: Vec<_> = report
        .findings
        .iter()
        .map(|finding| (finding.problem, finding.place.clone(), finding.repaired))
        .collect();
    found.sort_by(|one, two| one.1.cmp(&two.1));
    found
}

/// Changes bytes and keeps size, inode and time: what a failing disk does.
fn rot(home: &Home, at: &str) {
    let path = home.root().join(at);
    let mut bytes = std::fs::read(&path).unwrap();
    let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    use std::io::Write;
    let mut file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all(&bytes).unwrap();
    file.set_modified(modified).unwrap();
}

#[tokio::test]
async fn a_sound_larder_has_no_findings() {
    let home = Home::local();
    let larder = home.larder().await;
    put(&larder, "media", "a.jpg", &fixtures::unlike(1, 200, 150)).await;
    let gone = put(&larder, "files", "b", b"b").await;
    work(&larder).await;
    larder.delete_asset(gone.id, &Default::default()).await.unwrap();
    let report = scrub(&larder, &full()).await;
    assert_eq!((report.problems, report.assets, report.variants, report.hashed), (0, 2, 1, 2), "{report:?}");
    let quick = scrub(&larder, &ScrubOptions::default()).await;
    assert_eq!((quick.problems, quick.hashed), (0, 0));
}

#[tokio::test]
async fn originals_that_are_gone_rotten_changed_moved_or_only_touched_are_told_apart() {
    let home = Home::local();
    let larder = home.larder().await;
    for name in ["gone", "rotten", "changed", "moved", "touched", "sound"] {
        put(&larder, "files", name, format!("the bytes of {name}").as_bytes()).await;
    }
    home.remove("files/gone").await;
    rot(&home, "files/rotten");
    home.write("files/changed", b"written by somebody else").await;
    std::fs::rename(home.root().join("files/moved"), home.root().join("files/elsewhere")).unwrap();
    home.write("files/touched", b"the bytes of touched").await;

    let quick = scrub(&larder, &ScrubOptions::default()).await;
    assert!(!problems(&quick).iter().any(|(_, place, _)| place == "files/rotten"), "only hashing shows it");
    let report = scrub(&larder, &full()).await;
    use Problem::*;
    let expected = [
        (OriginalDamaged, "files/changed"),
        (OriginalMissing, "files/gone"),
        (OriginalMoved, "files/moved"),
        (OriginalDamaged, "files/rotten"),
        (FingerprintChanged, "files/touched"),
    ]
    .map(|(problem, place)| (problem, place.to_owned(), false));
    assert_eq!(problems(&report), expected, "{report:?}");
    assert_eq!((report.remaining(false), report.repaired), (5, 0));
    assert_eq!(read(&larder, "files", "rotten").await.unwrap().len(), 19, "nobody knew before");

    let repair = ScrubOptions { repair: true, ..full() };
    let report = scrub(&larder, &repair).await;
    let mended: Vec<_> =
        problems(&report).into_iter().filter(|(.., repaired)| *repaired).map(|(_, place, _)| place).collect();
    assert_eq!(mended, ["files/moved", "files/touched"], "{report:?}");
    assert_eq!(report.remaining(false), 3);
    for name in ["gone", "rotten", "changed"] {
        assert_eq!(read(&larder, "files", name).await, Err(Code::StoredBytesCorrupt), "{name}");
        let asset = larder.asset_at(&bucket("files"), &key(name)).await.unwrap();
        assert_eq!(asset.status, "failed");
    }
    for name in ["moved", "touched", "sound"] {
        assert_eq!(read(&larder, "files", name).await.unwrap(), format!("the bytes of {name}").as_bytes());
    }
    assert!(!home.exists("files/elsewhere").await && home.exists("files/moved").await);

    // The operator brings two files back from a backup, and puts the third anew.
    home.write("files/gone", b"the bytes of gone").await;
    home.write("files/rotten", b"the bytes of rotten").await;
    put(&larder, "files", "changed", b"a new version").await;
    let report = scrub(&larder, &repair).await;
    assert_eq!((report.problems, report.repaired), (2, 2), "{report:?}");
    assert_eq!(read(&larder, "files", "gone").await.unwrap(), b"the bytes of gone");
    assert_eq!(read(&larder, "files", "rotten").await.unwrap(), b"the bytes of rotten");
    assert_eq!(read(&larder, "files", "changed").await.unwrap(), b"a new version");
    assert_eq!(scrub(&larder, &full()).await.problems, 0);
}

#[tokio::test]
async fn variants_are_made_again_and_stale_records_dropped() {
    let home = Home::local();
    let larder = home.larder().await;
    let mut places = Vec::new();
    for number in 0..4 {
        put(&larder, "media", &format!("{number}.jpg"), &fixtures::unlike(number, 200, 150)).await;
        work(&larder).await;
    }
    for variant in larder.catalog().variants_by_id(None, 10).await.unwrap() {
        places.push(variant.place);
    }
    let good = read_preset(&larder, "media", "0.jpg", "keep-small").await;
    home.remove(&places[0]).await;
    rot(&home, &places[1]);
    let bytes = home.read(&places[2]).await;
    home.write(&places[2], &bytes).await;
    // Another version of the fourth makes its variant stale; its bytes are gone.
    put(&larder, "media", "3.jpg", &fixtures::unlike(9, 200, 150)).await;
    work(&larder).await;
    home.remove(&places[3]).await;

    let report = scrub(&larder, &full()).await;
    let kinds: Vec<Problem> = places
        .iter()
        .map(|at| report.findings.iter().find(|finding| finding.place == *at).unwrap().problem)
        .collect();
    use Problem::*;
    assert_eq!(kinds, [VariantMissing, VariantDamaged, FingerprintChanged, VariantStale], "{report:?}");
    let report = scrub(&larder, &ScrubOptions { repair: true, ..full() }).await;
    assert_eq!((report.problems, report.repaired), (4, 4), "{report:?}");
    assert_eq!(home.read(&places[0]).await, good, "at the same place again");
    assert_eq!(scrub(&larder, &full()).await.problems, 0);
    assert_eq!(read_preset(&larder, "media", "0.jpg", "keep-small").await, good);
}

#[tokio::test]
async fn files_without_a_record_are_listed_adopted_on_request_and_removed_by_rule_only() {
    let home = Home::local();
    let larder = home.larder().await;
    put(&larder, "files", "known", b"known").await;
    home.write("files/stray.txt", b"stray").await;
    home.write("media/stray.jpg", &fixtures::unlike(1, 100, 80)).await;
    home.write("media/notes.txt", b"not of the bucket's types").await;
    home.write(".larder/trash/unrecorded-x", b"set aside").await;
    home.write("outside/x", b"of no bucket").await;
    let repair = ScrubOptions { repair: true, ..full() };
    let report = scrub(&larder, &repair).await;
    let found: Vec<_> = problems(&report).into_iter().map(|(problem, place, _)| (problem, place)).collect();
    let expected = [
        (Problem::OrphanTrash, ".larder/trash/unrecorded-x"),
        (Problem::Orphan, "files/stray.txt"),
        (Problem::Orphan, "media/notes.txt"),
        (Problem::Orphan, "media/stray.jpg"),
    ]
    .map(|(problem, place)| (problem, place.to_owned()));
    assert_eq!(found, expected);
    assert_eq!((report.repaired, report.remaining(false), report.remaining(true)), (0, 4, 0));

    let report = scrub(&larder, &ScrubOptions { adopt: true, ..full() }).await;
    assert_eq!(report.repaired, 2, "{report:?}");
    assert_eq!(read(&larder, "files", "stray.txt").await.unwrap(), b"stray");
    let refused = report.findings.iter().find(|finding| finding.place == "media/notes.txt").unwrap();
    assert!(refused.action.contains("not accepted"), "{refused:?}");

    let rule = |grace| BucketPolicy { orphan_grace: Some(Span(grace)), ..BucketPolicy::default() };
    larder.put_bucket(&bucket("media"), rule(Duration::from_secs(3_600))).await.unwrap();
    let report = scrub(&larder, &repair).await;
    assert!(
        report.repaired == 0 && home.exists("media/notes.txt").await,
        "it is not known for an hour: {report:?}"
    );
    larder.put_bucket(&bucket("media"), rule(Duration::ZERO)).await.unwrap();
    scrub(&larder, &full()).await;
    assert!(home.exists("media/notes.txt").await, "never without --repair");
    let report = scrub(&larder, &repair).await;
    assert!(report.repaired == 1 && !home.exists("media/notes.txt").await, "{report:?}");
    assert!(home.exists("outside/x").await && home.exists(".larder/trash/unrecorded-x").await);
}

#[tokio::test]
async fn a_scrub_that_is_cut_off_goes_on_where_it_stopped() {
    struct Stops(std::sync::atomic::AtomicU64);
    impl crate::Follow for Stops {
        fn expect(&self, _: u64) {}
        fn advance(&self, _: u64) {}
        fn check(&self) -> Result<(), larder_core::Fault> {
            match self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
                0 => Ok(()),
                _ => Err(larder_core::Fault::new(Code::Cancelled, "stopped")),
            }
        }
    }
    let home = Home::memory();
    let larder = home.larder().await;
    put(&larder, "files", "gone", b"gone").await;
    put(&larder, "files", "there", b"there").await;
    home.remove("files/gone").await;
    let stops = Stops(0.into());
    assert_eq!(larder.scrub(&full(), &stops).await.unwrap_err().code, Code::Cancelled);
    let other = scrub(&larder, &ScrubOptions::default()).await;
    assert!(!other.resumed, "one that does something else begins anew");
    assert_eq!(larder.scrub(&full(), &Stops(0.into())).await.unwrap_err().code, Code::Cancelled);
    let report = scrub(&larder, &full()).await;
    assert!(report.resumed);
    assert_eq!((report.assets, report.problems, report.hashed), (2, 1, 1), "{report:?}");
    assert!(!scrub(&larder, &full()).await.resumed, "that one was ended");
}

#[tokio::test]
async fn a_scrub_of_a_bucket_looks_at_nothing_else() {
    let home = Home::memory();
    let larder = home.larder().await;
    put(&larder, "files", "a", b"a").await;
    put(&larder, "media", "b.jpg", &fixtures::unlike(1, 100, 80)).await;
    home.remove("files/a").await;
    home.write("media/stray", b"x").await;
    let report = scrub(&larder, &ScrubOptions { bucket: Some(bucket("media")), ..full() }).await;
    assert_eq!(problems(&report), [(Problem::Orphan, "media/stray".to_owned(), false)], "{report:?}");
    let none = ScrubOptions { bucket: Some(bucket("nowhere")), ..full() };
    assert_eq!(larder.scrub(&none, &Unfollowed).await.unwrap_err().code, Code::BucketNotFound);
    let wrong = ScrubOptions { sample: 1.5, ..ScrubOptions::default() };
    assert_eq!(larder.scrub(&wrong, &Unfollowed).await.unwrap_err().code, Code::InvalidRequest);
}
