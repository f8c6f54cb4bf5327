//! B1: an upload as people type it.

use std::process::Command;

use larder_testkit::{fixtures, server::printed};
use serde_json::Value;

use crate::client::server;

fn curl(arguments: &[&str]) -> Value {
    let output = Command::new("curl").args(["-sS", "--max-time", "60"]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", printed(&output));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", printed(&output)))
}

#[test]
fn b1_curl_sends_a_form_or_the_bytes_themselves() {
    let server = server().start();
    let photo = server.data_dir().join("photo.jpg");
    std::fs::write(&photo, fixtures::jpeg(640, 480)).unwrap();
    let photo = photo.to_str().unwrap();
    let url = server.url("/api/v1/uploads?wait=30&bucket=keeps");

    let by_form = curl(&["-F", &format!("file=@{photo}"), &url]);
    assert_eq!(by_form["status"], "completed", "{by_form}");
    assert_eq!(by_form["asset"]["original_filename"], "photo.jpg");

    // curl declares this body to be a form, which it is not.
    let by_data = curl(&["--data-binary", &format!("@{photo}"), &url]);
    assert_eq!(by_data["status"], "completed", "{by_data}");
    assert_ne!(by_data["asset"]["key"], by_form["asset"]["key"], "the same file twice gives two assets");

    let by_put = curl(&["-T", photo, &server.url("/api/v1/buckets/keeps/objects/a/b.jpg")]);
    assert_eq!(by_put["key"], "a/b.jpg", "{by_put}");
}
