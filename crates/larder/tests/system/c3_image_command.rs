//! C3 offline: `larder image` makes the same pictures without any server or data directory.

use larder_image::{ImageLimits, inspect};
use larder_testkit::{fixtures, server::printed};
use tempfile::TempDir;

use crate::client::{failure_of, larder, lines_of, stdout_of};

fn folder() -> TempDir {
    let dir = TempDir::new().unwrap();
    std::fs::create_dir_all(dir.path().join("photos/2026")).unwrap();
    std::fs::write(dir.path().join("photos/a.jpg"), fixtures::unlike(1, 1200, 800)).unwrap();
    std::fs::write(dir.path().join("photos/2026/b.jpg"), fixtures::unlike(2, 300, 600)).unwrap();
    std::fs::write(dir.path().join("photos/notes.txt"), "no picture").unwrap();
    dir
}

fn image(dir: &TempDir) -> std::process::Command {
    let mut command = larder();
    command.current_dir(dir.path()).args(["image", "photos/", "--out", "out/"]);
    command
}

fn size_of(dir: &TempDir, file: &str) -> (u32, u32) {
    let bytes = std::fs::read(dir.path().join("out").join(file)).unwrap();
    inspect(&bytes, &ImageLimits::default()).unwrap().oriented_size()
}

#[test]
fn c3_a_folder_becomes_the_pictures_of_a_set() {
    let dir = folder();
    let table = stdout_of(image(&dir).args(["--preset", "keep"]));
    assert!(table.contains("photos/a.jpg") && table.contains("1200x800"), "{table}");
    assert_eq!(size_of(&dir, "a.keep-large.jpg"), (800, 533));
    assert_eq!(size_of(&dir, "a.keep-small.jpg"), (150, 100));
    assert_eq!(size_of(&dir, "2026/b.keep-medium.jpg"), (150, 300));
    assert!(!dir.path().join("larder-data").exists(), "no data directory is needed");
}

#[test]
fn c3_a_recipe_gives_plain_names_and_reports_as_json_lines() {
    let dir = folder();
    let reports = lines_of(image(&dir).args(["--recipe", "resize:cover:64x64,format:webp,quality:50"]));
    assert_eq!(reports.len(), 2);
    assert!(reports.iter().all(|report| report["pictures"][0]["width"] == 64), "{reports:?}");
    assert_eq!(size_of(&dir, "a.webp"), (64, 64));
    let (code, error) =
        failure_of(image(&dir).args(["--recipe", "resize:cover:64x64,format:webp,quality:50"]));
    assert_eq!(code, 1);
    assert!(error.contains("exists") && error.contains("--force"), "{error}");
}

#[test]
fn c3_two_files_of_one_name_are_refused_before_anything_is_made() {
    let dir = folder();
    std::fs::write(dir.path().join("photos/2026/a.jpg"), fixtures::unlike(3, 300, 600)).unwrap();
    let mut command = larder();
    command.current_dir(dir.path()).args(["image", "photos/a.jpg", "photos/2026/a.jpg", "--out", "out/"]);
    let (code, error) = failure_of(command.args(["--preset", "keep-small"]));
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("photos/a.jpg and photos/2026/a.jpg would both be"), "{error}");
    assert!(!dir.path().join("out").exists(), "nothing was made");
}

#[test]
fn c3_a_folder_that_cannot_be_written_to_is_no_full_disk() {
    let dir = folder();
    std::fs::create_dir(dir.path().join("out")).unwrap();
    std::fs::write(dir.path().join("out/2026"), "a file where a folder belongs").unwrap();
    let output = image(&dir).args(["--preset", "keep-small", "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", printed(&output));
    let lines = String::from_utf8(output.stdout).unwrap();
    assert!(lines.contains("\"code\":\"file\"") && !lines.contains("storage_full"), "{lines}");
}

#[test]
fn c3_bad_files_are_named_with_the_reason_and_the_rest_is_made() {
    let dir = folder();
    let whole = fixtures::jpeg(400, 300);
    std::fs::write(dir.path().join("photos/cut.jpg"), &whole[..whole.len() / 2]).unwrap();
    std::fs::write(dir.path().join("photos/fake.png"), b"\x7fELF\x02\x01\x01").unwrap();
    let output = image(&dir).args(["--preset", "keep-small"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", printed(&output));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("refused photos/cut.jpg") && error.contains("refused photos/fake.png"), "{error}");
    assert_eq!(size_of(&dir, "a.jpg"), (150, 100));
    assert!(!dir.path().join("out/cut.jpg").exists());
}

#[test]
fn c3_presets_of_the_file_are_known_and_unknown_ones_are_a_usage_error() {
    let dir = folder();
    std::fs::write(dir.path().join("larder.toml"), "[presets]\nhero = \"resize:inside:99x99,format:png\"\n")
        .unwrap();
    stdout_of(image(&dir).args(["--preset", "hero"]));
    assert_eq!(size_of(&dir, "a.png"), (99, 66));
    let (code, error) = failure_of(image(&dir).args(["--preset", "heor"]));
    assert_eq!(code, 2);
    assert!(error.contains("heor") && error.contains("hero"), "{error}");
    let (code, error) = failure_of(image(&dir).args(["--recipe", "resize:sideways:1x1"]));
    assert_eq!(code, 2, "{error}");
}
