//! D6: behind a proxy that adds a path prefix, every URL works as it was handed out.

use larder_testkit::fixtures;
use reqwest::StatusCode;
use serde_json::Value;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

use crate::client::{client, json, json_of, larder, server};

/// Passes connections on as they are: the prefix stays in the path, as with `proxy_pass` without a
/// path.
async fn proxy(to: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            let to = to.clone();
            tokio::spawn(async move {
                if let Ok(mut target) = TcpStream::connect(to).await {
                    let _ = copy_bidirectional(&mut from, &mut target).await;
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn d6_urls_carry_the_public_address_and_work_through_the_proxy() {
    let key = "correct-horse-battery-staple";
    // The proxy's address is part of the server's configuration, so the proxy comes first.
    let reserved = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let behind = reserved.local_addr().unwrap();
    drop(reserved);
    let front = proxy(behind.to_string()).await;
    let public = format!("http://{front}/shop/media");
    let server = server()
        .env("LARDER_PUBLIC_URL", &public)
        .env("LARDER_ADMIN_KEY", key)
        .env("LARDER_LISTEN", behind.to_string())
        .start();

    let client = client();
    let url = format!("{public}/api/v1/uploads?bucket=keeps&filename=a.jpg&wait=30");
    let response = client.post(url).bearer_auth(key).body(fixtures::jpeg(640, 480)).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    assert!(
        location.starts_with("/shop/media/api/v1/uploads/") || location.starts_with(&public),
        "{location}"
    );
    let done = json(response).await;

    let urls = [&done["asset"], &done["variants"]["keep-small"]].map(|thing| thing["url"].as_str().unwrap());
    for url in urls {
        assert!(url.starts_with(&public), "{url}");
        let response = client.get(url).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{url}");
    }

    let mut command = larder();
    command.args(["url", "keeps/x.jpg", "--preset", "keep-small", "--server", &public, "--api-key", key]);
    let link: Value = json_of(&mut command);
    assert!(link["url"].as_str().unwrap().starts_with(&public), "{link}");
    assert_eq!(server.stop(), Some(0));
}
