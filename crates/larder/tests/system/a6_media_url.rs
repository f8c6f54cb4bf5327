//! A6: pages that name pictures below `/media/` keep working when Larder serves them.

use reqwest::{Method, StatusCode};

use crate::client::{ask, client, json_of, server};

#[tokio::test(flavor = "multi_thread")]
async fn a6_originals_are_served_below_the_path_that_the_application_used() {
    let server = server()
        .env("MEDIA_URL", "/media/")
        .env("LARDER_DELIVERY__MEDIA_BUCKET", "keeps")
        .env("LARDER_BUCKETS__KEEPS__VISIBILITY", "public")
        .start();
    let client = client();
    let photo = larder_testkit::fixtures::jpeg(64, 48);
    let put = client.put(server.url("/api/v1/buckets/keeps/objects/2024/beach.jpg")).body(photo.clone());
    assert_eq!(put.send().await.unwrap().status(), StatusCode::CREATED);
    let answer = client.get(server.url("/media/2024/beach.jpg")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "image/jpeg");
    assert_eq!(answer.bytes().await.unwrap(), photo);
    assert_eq!(ask(&client, Method::GET, &server.url("/media/none.jpg"), None).await.0, 404);
    assert_eq!(json_of(server.cli().arg("stats"))["total_objects"], 1);
}
