//! Folders of other applications, adopted where they lie.

use larder_catalog::AssetStatus;
use larder_core::Code;
use larder_testkit::fixtures;

use super::AdoptOptions;
use crate::{
    DeleteOptions, Unfollowed,
    home::{Home, bucket, key, put, read, read_preset, rendered},
};

fn webp(jpeg: &[u8], within: Option<(u32, u32)>) -> Vec<u8> {
    match within {
        Some((width, height)) => {
            rendered(jpeg, &format!("resize:inside:{width}x{height},format:webp,quality:60"))
        }
        None => rendered(jpeg, "format:webp,quality:60"),
    }
}

fn of(name: &str) -> AdoptOptions {
    AdoptOptions::of_bucket(bucket(name))
}

fn with_sizes() -> AdoptOptions {
    let rules = ["large", "medium", "small", "thumbnail"];
    AdoptOptions {
        prefix: Some("series".to_owned()),
        original: Some("original".to_owned()),
        variants: rules.map(|size| format!("artwork-{size}={size}").parse().unwrap()).into(),
        ..of("artwork")
    }
}

#[tokio::test]
async fn covers_and_pages_become_assets_where_they_lie_and_no_byte_is_written() {
    let home = Home::local();
    let files = fixtures::covers_and_pages();
    home.write_tree(&files);
    let larder = home.larder().await;
    let before = home.places("").await;
    let dry = AdoptOptions { dry_run: true, ..of("media") };
    let told = larder.adopt(&dry, &Unfollowed).await.unwrap();
    assert!(larder.catalog().assets_by_id(None, 1).await.unwrap().is_empty());
    let report = larder.adopt(&of("media"), &Unfollowed).await.unwrap();
    assert_eq!((report.adopted, report.refused), (files.len() as u64, 0), "{report:?}");
    assert_eq!((told.adopted, told.adopted_bytes), (report.adopted, report.adopted_bytes));
    assert_eq!(home.places("").await, before, "nothing was moved, copied or written beside");
    for (place, bytes) in &files {
        let at = place.strip_prefix("media/").unwrap();
        assert_eq!(read(&larder, "media", at).await.unwrap(), *bytes, "{at}");
    }
    let cover = larder.asset_at(&bucket("media"), &key("series/naruto/cover.jpg")).await.unwrap();
    assert_eq!(
        (cover.width, cover.height, cover.content_type.as_str()),
        (Some(300), Some(450), "image/jpeg")
    );
    assert!(
        read_preset(&larder, "media", "series/naruto/cover.jpg", "keep-small").await.starts_with(b"\xFF\xD8")
    );
    let again = larder.adopt(&of("media"), &Unfollowed).await.unwrap();
    assert_eq!((again.adopted, again.present), (0, files.len() as u64), "{again:?}");
    // Deleted as any other: the place is empty, and it comes back there.
    larder.delete_asset(cover.id, &DeleteOptions::default()).await.unwrap();
    assert!(!home.exists("media/series/naruto/cover.jpg").await);
    larder.restore(cover.id).await.unwrap();
    assert!(home.exists("media/series/naruto/cover.jpg").await);
}

#[tokio::test]
async fn part_of_a_folder_can_be_adopted() {
    let home = Home::local();
    home.write_tree(&fixtures::covers_and_pages());
    let larder = home.larder().await;
    let part = AdoptOptions { prefix: Some("media/series/naruto/vol1/".to_owned()), ..of("media") };
    let report = larder.adopt(&part, &Unfollowed).await.unwrap();
    assert_eq!(report.adopted, 4, "{report:?}");
    assert!(larder.asset_at(&bucket("media"), &key("series/naruto/cover.jpg")).await.is_err());
    for (wrong, code) in [
        ("artwork/x", Code::InvalidRequest),
        (".larder/trash", Code::InvalidRequest),
        ("", Code::InvalidRequest),
    ] {
        let options = AdoptOptions { prefix: Some(wrong.to_owned()), ..of("media") };
        assert_eq!(larder.adopt(&options, &Unfollowed).await.unwrap_err().code, code, "{wrong}");
    }
}

#[tokio::test]
async fn sizes_beside_an_original_become_its_variants_if_they_are_named() {
    let home = Home::local();
    let files = fixtures::posters_in_sizes(webp);
    home.write_tree(&files);
    let larder = home.larder().await;
    let dry = larder.adopt(&AdoptOptions { dry_run: true, ..with_sizes() }, &Unfollowed).await.unwrap();
    let report = larder.adopt(&with_sizes(), &Unfollowed).await.unwrap();
    assert_eq!((report.adopted, report.variants, report.refused), (2, 8, 0), "{report:?}");
    assert_eq!((dry.adopted, dry.variants), (2, 8), "{dry:?}");
    let at = files[0].0.as_str();
    assert_eq!(read(&larder, "artwork", at).await.unwrap(), files[0].1);
    for (preset, (_, bytes)) in ["artwork-large", "artwork-medium", "artwork-small", "artwork-thumbnail"]
        .into_iter()
        .zip(&files[1..5])
    {
        assert_eq!(read_preset(&larder, "artwork", at, preset).await, *bytes, "{preset}");
    }
    assert!(home.places("artwork/").await.is_empty(), "no variant was made anew");
    let again = larder.adopt(&with_sizes(), &Unfollowed).await.unwrap();
    assert_eq!((again.adopted, again.variants, again.present), (0, 0, 10), "{again:?}");
}

#[tokio::test]
async fn without_a_rule_every_size_is_an_asset_and_what_does_not_fit_a_rule_is_one_too() {
    let home = Home::local();
    home.write_tree(&fixtures::posters_in_sizes(webp));
    let larder = home.larder().await;
    let plain =
        AdoptOptions { prefix: Some("series".to_owned()), strip: Some("series".to_owned()), ..of("artwork") };
    let report = larder.adopt(&plain, &Unfollowed).await.unwrap();
    assert_eq!((report.adopted, report.variants), (10, 0), "{report:?}");
    assert!(larder.asset_at(&bucket("artwork"), &key("07/d9/7/poster/large.webp")).await.is_ok());

    let home = Home::local();
    let too_large = rendered(&fixtures::unlike(1, 800, 1_200), "format:webp,quality:50");
    let tree = [
        ("series/1/original.jpg".to_owned(), fixtures::unlike(1, 800, 1_200)),
        ("series/1/thumbnail.webp".to_owned(), too_large),
        ("series/1/small.jpg".to_owned(), fixtures::unlike(1, 200, 300)),
        ("series/2/large.webp".to_owned(), webp(&fixtures::unlike(2, 200, 300), None)),
    ];
    home.write_tree(&tree);
    let larder = home.larder().await;
    let report = larder.adopt(&with_sizes(), &Unfollowed).await.unwrap();
    assert_eq!((report.adopted, report.variants, report.refused), (4, 0, 0), "{report:?}");
}

#[tokio::test]
async fn what_the_bucket_does_not_take_is_told_and_left_alone() {
    let home = Home::local();
    let good = fixtures::unlike(1, 100, 80);
    let cut = good[..good.len() / 2].to_vec();
    let tree = [
        ("media/good.jpg", good.clone()),
        ("media/cut.jpg", cut),
        ("media/wrong.png", good.clone()),
        ("media/notes.txt", b"notes".to_vec()),
        ("media/empty.jpg", Vec::new()),
        ("media/page.jpg", b"<html><script>".to_vec()),
    ];
    home.write_tree(&tree.map(|(place, bytes)| (place.to_owned(), bytes)));
    std::fs::write(home.root().join("media/line\nbreak.jpg"), &good).unwrap();
    let larder = home.larder().await;
    let report = larder.adopt(&of("media"), &Unfollowed).await.unwrap();
    let code = |place: &str| {
        let found = report.refusals.iter().find(|refusal| refusal.place == place);
        found.map(|refusal| refusal.error.code)
    };
    assert_eq!(code("media/wrong.png"), Some(Code::TypeMismatch), "{report:?}");
    assert_eq!(code("media/notes.txt"), Some(Code::UnsupportedType));
    assert_eq!(code("media/empty.jpg"), Some(Code::EmptyFile));
    assert_eq!(code("media/line\\nbreak.jpg"), Some(Code::InvalidKey));
    assert!(code("media/page.jpg").is_some());
    // Its header is sound; that it is cut shows when it is decoded.
    assert_eq!((code("media/cut.jpg"), report.adopted), (None, 2));
    assert!(report.refusals.iter().all(|refusal| !refusal.error.remedy.is_empty()), "{report:?}");
    assert!(home.exists("media/notes.txt").await && home.exists("media/wrong.png").await);

    home.lose_catalogue();
    let larder = home.larder().await;
    let verify = AdoptOptions { verify: true, ignore_extensions: true, ..of("media") };
    let report = larder.adopt(&verify, &Unfollowed).await.unwrap();
    let cut = report.refusals.iter().find(|refusal| refusal.place == "media/cut.jpg").unwrap();
    assert_eq!(cut.error.code, Code::UndecodableImage);
    assert_eq!(report.adopted, 2, "the good one, and the one whose extension does not matter: {report:?}");
    let good = larder.asset_at(&bucket("media"), &key("good.jpg")).await.unwrap();
    assert!(good.placeholder.is_some(), "it was decoded in full");
}

#[tokio::test]
async fn an_adopted_file_is_never_set_aside_for_another_key() {
    let home = Home::local();
    home.write("old/a", b"adopted").await;
    let larder = home.larder().await;
    let elsewhere = AdoptOptions { prefix: Some("old".to_owned()), ..of("files") };
    assert_eq!(larder.adopt(&elsewhere, &Unfollowed).await.unwrap().adopted, 1);
    // A bucket comes whose keys belong where the adopted file lies.
    let policy = crate::BucketPolicy { accept: vec!["*/*".to_owned()], ..Default::default() };
    larder.put_bucket(&bucket("old"), policy).await.unwrap();
    put(&larder, "old", "a", b"another").await;
    assert_eq!(read(&larder, "files", "old/a").await.unwrap(), b"adopted");
    assert_eq!(read(&larder, "old", "a").await.unwrap(), b"another");
    let adopted = larder.catalog().asset_at(&bucket("files"), &key("old/a")).await.unwrap().unwrap();
    assert_eq!((adopted.place.as_str(), adopted.status), ("old/a", AssetStatus::Ready));
}
