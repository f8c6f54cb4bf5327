//! C3: photos come out upright, in every preset of the three sets, in exactly the right sizes.

use larder_image::{ImageLimits, inspect};
use larder_testkit::{fixtures, server::Server};
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;

use crate::client::{ask, client, corpus, files_of, finished, server, upload};

/// Name, the box that a picture is fitted into, and format.
type Preset = (&'static str, u32, u32, &'static str);

/// Presets by bucket.
const SETS: &[(&str, &[Preset])] = &[
    (
        "artwork",
        &[
            ("artwork-large", 1920, 1080, "image/webp"),
            ("artwork-medium", 1280, 720, "image/webp"),
            ("artwork-small", 640, 360, "image/webp"),
            ("artwork-thumbnail", 300, 169, "image/webp"),
        ],
    ),
    (
        "keeps",
        &[
            ("keep-small", 150, 150, "image/jpeg"),
            ("keep-medium", 300, 300, "image/jpeg"),
            ("keep-large", 800, 600, "image/jpeg"),
        ],
    ),
    ("designs", &[("design-thumbnail", 200, 200, "image/png")]),
];

/// A photo and the size of what one sees when it is turned as its EXIF says.
struct Photo {
    name: String,
    bytes: Vec<u8>,
    upright: (u32, u32),
}

/// The corpus' photos, else generated ones in both shapes, with and without a turn in their EXIF.
fn photos() -> Vec<Photo> {
    if let Some(corpus) = corpus() {
        let photos: Vec<Photo> = files_of(&corpus.join("photos"))
            .into_iter()
            .map(|path| {
                let bytes = std::fs::read(&path).unwrap();
                let upright = jpeg_upright_size(&bytes);
                Photo { name: path.file_name().unwrap().to_string_lossy().into_owned(), bytes, upright }
            })
            .collect();
        assert_eq!(photos.len(), 8, "the eight photos of the corpus");
        return photos;
    }
    let plain = |width, height| fixtures::jpeg(width, height);
    vec![
        Photo { name: "wide.jpg".to_owned(), bytes: plain(2400, 1600), upright: (2400, 1600) },
        Photo { name: "tall.jpg".to_owned(), bytes: plain(900, 1600), upright: (900, 1600) },
        Photo { name: "turned6.jpg".to_owned(), bytes: turned(plain(1600, 900), 6), upright: (900, 1600) },
        Photo { name: "turned8.jpg".to_owned(), bytes: turned(plain(640, 480), 8), upright: (480, 640) },
        Photo { name: "small.jpg".to_owned(), bytes: plain(120, 80), upright: (120, 80) },
    ]
}

/// The size that the file's own markers give (ITU-T T.81, B.2.2, and Exif 2.3, 4.6.4), read here
/// independently of the code under test.
fn jpeg_upright_size(bytes: &[u8]) -> (u32, u32) {
    let mut at = 2;
    let mut turned = false;
    loop {
        assert_eq!(bytes[at], 0xFF, "a marker");
        let marker = bytes[at + 1];
        let length = usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]));
        let segment = &bytes[at + 4..at + 2 + length];
        if marker == 0xE1 && segment.starts_with(b"Exif\0\0") {
            turned = exif_orientation(&segment[6..]) >= 5;
        }
        if matches!(marker, 0xC0..=0xC2) {
            let height = u32::from(u16::from_be_bytes([segment[1], segment[2]]));
            let width = u32::from(u16::from_be_bytes([segment[3], segment[4]]));
            return if turned { (height, width) } else { (width, height) };
        }
        at += 2 + length;
    }
}

fn exif_orientation(tiff: &[u8]) -> u16 {
    let big = tiff.starts_with(b"MM");
    let u16_at = |at: usize| {
        let pair = [tiff[at], tiff[at + 1]];
        if big { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) }
    };
    let first = [tiff[4], tiff[5], tiff[6], tiff[7]];
    let directory = if big { u32::from_be_bytes(first) } else { u32::from_le_bytes(first) } as usize;
    (0..usize::from(u16_at(directory)))
        .map(|entry| directory + 2 + entry * 12)
        .find(|entry| u16_at(*entry) == 0x0112)
        .map_or(1, |entry| u16_at(entry + 8))
}

/// The JPEG with an EXIF segment that gives this orientation.
fn turned(jpeg: Vec<u8>, orientation: u8) -> Vec<u8> {
    let tiff = [
        b"MM\0\x2a\0\0\0\x08\0\x01".as_slice(),
        &[0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0],
        &[0, 0, 0, 0],
    ]
    .concat();
    let length = u16::try_from(2 + 6 + tiff.len()).unwrap().to_be_bytes();
    [&jpeg[..2], &[0xFF, 0xE1], &length, b"Exif\0\0", &tiff, &jpeg[2..]].concat()
}

/// The size of a picture fitted into a box, never enlarged, each side rounded to the nearest pixel.
fn inside((width, height): (u32, u32), (box_width, box_height): (u32, u32)) -> (u32, u32) {
    if width <= box_width && height <= box_height {
        return (width, height);
    }
    let scaled = |side: u32, by: u32, of: u32| {
        ((2 * u64::from(side) * u64::from(by) + u64::from(of)) / (2 * u64::from(of))).max(1) as u32
    };
    if u64::from(width) * u64::from(box_height) >= u64::from(height) * u64::from(box_width) {
        (box_width, scaled(height, box_width, width))
    } else {
        (scaled(width, box_height, height), box_height)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c3_photos_come_out_upright_in_every_preset_of_the_three_sets() {
    let server = server().start();
    let client = client();
    for photo in photos() {
        for (bucket, presets) in SETS {
            let name = &photo.name;
            let (status, accepted) = upload(&client, &server, bucket, name, photo.bytes.clone()).await;
            if photo.bytes.len() > 10_485_760 && *bucket == "artwork" {
                assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{name}");
                continue;
            }
            assert_eq!(status, StatusCode::ACCEPTED, "{name} into {bucket}: {accepted}");
            let done = finished(&client, &server, accepted["id"].as_str().unwrap()).await;
            assert_eq!(done["status"], "completed", "{name} into {bucket}: {done}");
            assert_eq!(done["progress_percentage"], 100);
            let asset = &done["asset"];
            let size = (asset["width"].as_u64().unwrap() as u32, asset["height"].as_u64().unwrap() as u32);
            assert_eq!(size, photo.upright, "{name}: the asset's size is that of the upright picture");
            assert_eq!(done["variants"].as_object().unwrap().len(), presets.len(), "{name} into {bucket}");
            for preset in *presets {
                check_variant(&client, &server, &photo, &done["variants"][preset.0], preset).await;
            }
            check_original(&client, &server, &photo, asset).await;
        }
    }
}

async fn check_variant(
    client: &Client,
    server: &Server,
    photo: &Photo,
    variant: &Value,
    (preset, width, height, content_type): &(&str, u32, u32, &str),
) {
    let name = format!("{} as {preset}", photo.name);
    assert_eq!(variant["status"], "ready", "{name}: {variant}");
    let expected = inside(photo.upright, (*width, *height));
    let response = client.get(server.url(variant["url"].as_str().unwrap())).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK, "{name}");
    assert_eq!(response.headers()["content-type"], *content_type, "{name}");
    let bytes = response.bytes().await.unwrap();
    assert_eq!(bytes.len() as u64, variant["size_bytes"].as_u64().unwrap(), "{name}");
    let inspection = inspect(&bytes, &ImageLimits::default()).unwrap();
    assert_eq!((inspection.width_px, inspection.height_px), expected, "{name}: the size as stored");
    assert_eq!(inspection.oriented_size(), expected, "{name}: nothing is left to turn");
    assert!(!inspection.has_gps, "{name}: no position leaves with a variant");
    let said = (variant["width"].as_u64().unwrap() as u32, variant["height"].as_u64().unwrap() as u32);
    assert_eq!(said, expected, "{name}: the size that the API tells");
}

async fn check_original(client: &Client, server: &Server, photo: &Photo, asset: &Value) {
    let response = client.get(server.url(asset["url"].as_str().unwrap())).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "image/jpeg");
    assert!(
        response.bytes().await.unwrap() == photo.bytes,
        "{}: the original stays byte-identical",
        photo.name
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn c3_format_and_quality_of_the_environment_reshape_the_shipped_presets() {
    let server = server().env("IMAGE_FORMAT", "jpg").env("IMAGE_QUALITY", "40").start();
    let client = client();
    let (_, preset) = ask(&client, Method::GET, &server.url("/api/v1/presets/artwork-large"), None).await;
    assert_eq!(preset["recipe"], "resize:inside:1920x1080,format:jpeg,quality:40");
    let (_, accepted) = upload(&client, &server, "artwork", "a.jpg", fixtures::jpeg(640, 480)).await;
    let done = finished(&client, &server, accepted["id"].as_str().unwrap()).await;
    assert_eq!(done["variants"]["artwork-small"]["content_type"], "image/jpeg", "{done}");
}

#[tokio::test(flavor = "multi_thread")]
async fn c3_without_optimisation_variants_are_made_on_demand_only() {
    let server =
        server().env("ENABLE_IMAGE_OPTIMIZATION", "false").env("MAX_IMAGE_FILE_SIZE_MB", "1").start();
    let client = client();
    let (_, accepted) = upload(&client, &server, "keeps", "a.jpg", fixtures::jpeg(640, 480)).await;
    let done = finished(&client, &server, accepted["id"].as_str().unwrap()).await;
    assert_eq!(done["status"], "completed");
    assert_eq!(done["variants"].as_object().unwrap().len(), 0, "{done}");
    let (status, problem) = upload(&client, &server, "artwork", "a.jpg", vec![0xFF; 1_048_577]).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{problem}");
}
