//! I13: keys are shown once, bound to their scope, rotated with overlap and revoked at once.

use larder_testkit::{fixtures, server::printed};
use reqwest::{Method, StatusCode};

use crate::client::{ask, client, failure_of, json_of, server, stdout_of};

#[tokio::test(flavor = "multi_thread")]
async fn i13_a_key_does_what_its_scope_says_and_nothing_else() {
    let server = server().start();
    let client = client();
    let photo = server.data_dir().join("photo.jpg");
    std::fs::write(&photo, fixtures::jpeg(320, 200)).unwrap();

    // Beside the server, in the data directory: the first key comes from whoever owns the machine.
    let admin = json_of(server.cli_beside().args(["key", "create", "--name", "boss", "--scope", "admin"]));
    let boss = admin["secret"].as_str().unwrap().to_owned();
    let scope = "keeps:users/7/:read,list,write";
    let issued = json_of(
        server.cli().env("LARDER_KEY", &boss).args(["key", "create", "--name", "app", "--scope", scope]),
    );
    let (app, id) = (issued["secret"].as_str().unwrap(), issued["key"]["id"].as_str().unwrap());

    let url = server.url("/api/v1/buckets");
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    assert_eq!(ask(&client, Method::GET, &url, None).await.0, StatusCode::UNAUTHORIZED, "a key exists now");

    let put = |key: &str, asset_key: &str| {
        server
            .cli()
            .env("LARDER_KEY", key)
            .args(["put", "--bucket", "keeps", "--key", asset_key])
            .arg(&photo)
            .output()
            .unwrap()
    };
    let inside = put(app, "users/7/a.jpg");
    assert!(inside.status.success(), "{}", printed(&inside));
    let outside = put(app, "users/8/a.jpg");
    assert_eq!(outside.status.code(), Some(1), "{}", printed(&outside));
    assert!(String::from_utf8_lossy(&outside.stderr).contains("may not"), "{}", printed(&outside));
    let (code, error) = failure_of(server.cli().env("LARDER_KEY", app).args(["rm", "keeps/users/7/a.jpg"]));
    assert_eq!(code, 1);
    assert!(error.contains("may not delete"), "{error}");

    let listed = stdout_of(server.cli().env("LARDER_KEY", &boss).args(["key", "ls"]));
    assert!(listed.contains("app") && listed.contains(scope), "{listed}");
    assert!(!listed.contains(app) && !server.log().contains(app), "a secret is shown once");

    let rotated = json_of(server.cli().env("LARDER_KEY", &boss).args(["key", "rotate", id]));
    let next = rotated["secret"].as_str().unwrap();
    assert!(put(app, "users/7/b.jpg").status.success(), "the old secret overlaps");
    assert!(put(next, "users/7/c.jpg").status.success());

    stdout_of(server.cli().env("LARDER_KEY", &boss).args([
        "key",
        "revoke",
        rotated["key"]["id"].as_str().unwrap(),
    ]));
    let revoked = put(next, "users/7/d.jpg");
    assert!(!revoked.status.success(), "revoked at once");
}

#[test]
fn i13_a_key_ends_with_its_time_and_is_listed_as_expired() {
    let server = server().start();
    let create = ["key", "create", "--name", "short", "--scope", "media", "--expires", "5s"];
    let secret = json_of(server.cli_beside().args(create))["secret"].as_str().unwrap().to_owned();
    let list = || {
        let mut command = server.cli();
        command.env("LARDER_KEY", &secret).args(["ls", "media"]);
        command
    };
    stdout_of(&mut list());
    assert!(stdout_of(server.cli_beside().args(["key", "ls"])).contains("active"));
    // A process remembers keys for a second.
    std::thread::sleep(std::time::Duration::from_millis(6_100));
    let (code, error) = failure_of(&mut list());
    assert_eq!(code, 1, "{error}");
    let keys = stdout_of(server.cli_beside().args(["key", "ls"]));
    assert!(keys.contains("expired") && !keys.contains("active"), "{keys}");
}
