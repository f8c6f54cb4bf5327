//! Files to many clients, beside nginx.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use larder_image::{Deadline, ImageLimits, Recipe, Source};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http::Connection;
use crate::report::table;
use crate::server::{Larder, Server, accepts, bound_to, free_address};
use crate::stats::Spread;
use crate::{Bench, Options, cache_folder, pictures};

pub const BENCH: Bench = Bench { name: "delivery", doc: "files to clients, beside nginx", run };

/// The server runs on one processor and its clients on another, so that neither waits for the other.
const SERVER_CORE: usize = 0;
const CLIENT_CORE: usize = 1;

/// Seconds of one run of a server.
const RUN_SECONDS: u32 = 3;

/// Sizes of what is fetched.
const VARIANT_BYTES: usize = 20_000;
const ORIGINAL_BYTES: usize = 5_000_000;

/// What is fetched.
struct Target {
    doc: String,
    path: String,
    connections: u32,
    /// Requests per CPU second of nginx that Larder is to reach.
    goal: f64,
}

fn run(options: &Options) -> Result<String> {
    let folder = TempDir::new_in(cache_folder("delivery")?)?;
    let larder = Larder { core: Some(SERVER_CORE), arguments: &[] }.start(&folder.path().join("data"))?;
    let targets = prepare(larder.address)?;
    let nginx = start_nginx(folder.path(), larder.address, &targets)?;
    let mut rows = Vec::new();
    for target in &targets {
        eprintln!("delivery of {}", target.doc);
        rows.push(measure(target, &larder, &nginx, options.pairs)?);
    }
    let head = [
        "what",
        "Larder, requests per CPU second",
        "nginx, requests per CPU second",
        "Larder / nginx",
        "goal",
        "Larder / nginx, requests per second",
    ];
    Ok(format!(
        "{} pairs of runs of {RUN_SECONDS} s, {}, each server on one processor and wrk on another.\n\n{}",
        options.pairs,
        nginx_version()?,
        table(&head, &rows)
    ))
}

fn measure(target: &Target, larder: &Server, nginx: &Server, pairs: usize) -> Result<Vec<String>> {
    load(target, larder.address)?;
    load(target, nginx.address)?;
    let (mut own, mut peer) = (Vec::new(), Vec::new());
    for _ in 0..pairs {
        own.push(under_load(target, larder)?);
        peer.push(under_load(target, nginx)?);
    }
    let per_cpu = |runs: &[Run]| Spread::of(runs.iter().map(|run| run.requests / run.cpu_seconds));
    let ratio = own
        .iter()
        .zip(&peer)
        .map(|(own, peer)| (own.requests / own.cpu_seconds) / (peer.requests / peer.cpu_seconds));
    let per_second = |runs: &[Run]| Spread::of(runs.iter().map(|run| run.requests / run.seconds)).median;
    Ok(vec![
        target.doc.clone(),
        per_cpu(&own).text(0),
        per_cpu(&peer).text(0),
        Spread::of(ratio).text(2),
        format!("{:.2}", target.goal),
        format!("{:.0} / {:.0}", per_second(&own), per_second(&peer)),
    ])
}

/// What a server did under load.
struct Run {
    requests: f64,
    seconds: f64,
    cpu_seconds: f64,
}

fn under_load(target: &Target, server: &Server) -> Result<Run> {
    let before = server.cpu_seconds()?;
    let (requests, seconds) = load(target, server.address)?;
    Ok(Run { requests, seconds, cpu_seconds: server.cpu_seconds()? - before })
}

/// Requests answered by a server, and the seconds that took.
fn load(target: &Target, address: SocketAddr) -> Result<(f64, f64)> {
    let output = bound_to(Some(CLIENT_CORE), Path::new("wrk"))
        .args(["--threads", "1", "--connections", &target.connections.to_string()])
        .args(["--duration", &format!("{RUN_SECONDS}s")])
        .arg(format!("http://{address}{}", target.path))
        .output()
        .context("wrk did not start")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || has_failures(&text) {
        bail!("wrk: {text}{}", String::from_utf8_lossy(&output.stderr));
    }
    totals(&text).with_context(|| format!("wrk said: {text}"))
}

/// Whether wrk tells of answers or connections that failed: those do not count as requests.
fn has_failures(text: &str) -> bool {
    text.contains("Non-2xx") || text.contains("Socket errors")
}

/// From a line such as `  71352 requests in 3.00s, 1.41GB read`.
fn totals(text: &str) -> Option<(f64, f64)> {
    let (requests, rest) = text.lines().find_map(|line| line.trim().split_once(" requests in "))?;
    Some((requests.parse().ok()?, rest.split_once("s,")?.0.parse().ok()?))
}

/// Uploads what is fetched: a picture with a variant of 20 KB, and one of 5 MB.
fn prepare(address: SocketAddr) -> Result<Vec<Target>> {
    let mut client = Connection::open(address)?;
    let picture = pictures::jpeg(1_000_000, 1)?;
    let recipe = recipe_for(&picture, VARIANT_BYTES)?;
    let mut put = |path: &str, body: &Value| -> Result<()> {
        let answer = client.send("PUT", path, "application/json", body.to_string().as_bytes())?;
        answer.expect_success(path).map(drop)
    };
    put("/api/v1/presets/bench", &json!({ "recipe": recipe.as_str() }))?;
    put("/api/v1/buckets/bench", &json!({ "visibility": "public", "presets": ["bench"] }))?;
    put("/api/v1/buckets/plain", &json!({ "visibility": "public", "presets": [] }))?;

    let asset = upload(&mut client, "bench", &picture)?;
    let variants: Value =
        serde_json::from_slice(&client.get(&format!("/api/v1/assets/{}/variants", asset.id))?)?;
    let url = variants["items"][0]["url"].as_str().context("the variant has no URL")?;
    let variant = path_of(url)?;
    let original = upload(&mut client, "plain", &pictures::jpeg(ORIGINAL_BYTES, 2)?)?;
    let variant_bytes = length_near(client.get(&variant)?.len(), VARIANT_BYTES)?;
    let original_bytes = length_near(client.get(&original.path)?.len(), ORIGINAL_BYTES)?;
    Ok(vec![
        Target {
            doc: format!("hot variant of {variant_bytes} bytes"),
            path: variant,
            connections: 32,
            goal: 0.6,
        },
        Target {
            doc: format!("original of {original_bytes} bytes"),
            path: original.path,
            connections: 8,
            goal: 0.25,
        },
    ])
}

/// The length, if it lies within 5 % of the one that is meant: the goals hold for that one.
fn length_near(length: usize, meant: usize) -> Result<usize> {
    if length.abs_diff(meant) * 20 > meant {
        bail!("{length} bytes are not the {meant} that are to be measured");
    }
    Ok(length)
}

struct Uploaded {
    id: String,
    path: String,
}

fn upload(client: &mut Connection, bucket: &str, picture: &[u8]) -> Result<Uploaded> {
    let path = format!("/api/v1/uploads?bucket={bucket}&wait=30");
    let body = client.send("POST", &path, "image/jpeg", picture)?.expect_success(&path)?;
    let upload: Value = serde_json::from_slice(&body)?;
    let asset = &upload["asset"];
    let text = |name: &str| {
        asset[name].as_str().map(str::to_owned).with_context(|| format!("no {name} in {upload}"))
    };
    Ok(Uploaded { id: text("id")?, path: path_of(&text("url")?)? })
}

/// The recipe whose output of `picture` comes nearest to `bytes`.
fn recipe_for(picture: &[u8], bytes: usize) -> Result<Recipe> {
    // In steps so small that one of them lies within 5 % of any length.
    let recipes = (16..100).map(|n| format!("resize:inside:{0}x{0},format:webp", n * 8).parse::<Recipe>());
    let recipes: Vec<Recipe> = recipes.collect::<Result<_, _>>()?;
    let within = Deadline::after(std::time::Duration::from_secs(60));
    let decoded = Source::open(picture, &ImageLimits::default())?.decode(&recipes, within)?;
    let outputs = decoded.render(&recipes, within);
    let fitting = recipes
        .into_iter()
        .zip(outputs)
        .filter_map(|(recipe, output)| Some((recipe, output.ok()?.bytes.len())));
    let nearest = fitting.min_by_key(|(_, length)| length.abs_diff(bytes));
    Ok(nearest.context("no size gives a variant")?.0)
}

/// Path and query of an absolute URL.
fn path_of(url: &str) -> Result<String> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let at = rest.find('/').context("a URL without a path")?;
    Ok(rest[at..].to_owned())
}

/// nginx over files with the same bytes under the same paths.
fn start_nginx(folder: &Path, larder: SocketAddr, targets: &[Target]) -> Result<Server> {
    let root = folder.join("files");
    let mut client = Connection::open(larder)?;
    for target in targets {
        let path = target.path.split('?').next().unwrap_or_default();
        let file = root.join(path.trim_start_matches('/'));
        fs::create_dir_all(file.parent().context("a file without a folder")?)?;
        fs::write(file, client.get(&target.path)?)?;
    }
    let address = free_address()?;
    let configuration = folder.join("nginx.conf");
    fs::write(&configuration, nginx_configuration(folder, &root, address))?;
    let mut command = bound_to(Some(SERVER_CORE), &nginx_program());
    command.arg("-e").arg(folder.join("nginx.log")).arg("-c").arg(&configuration);
    Server::start(command, address, accepts)
}

/// nginx at its best for static files: sendfile, open files kept, no log.
fn nginx_configuration(folder: &Path, root: &Path, address: SocketAddr) -> String {
    let (folder, root) = (folder.display(), root.display());
    format!(
        "daemon off;
user root;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 1024; }}
http {{
    types {{ image/webp webp; image/jpeg jpg; }}
    sendfile on;
    tcp_nopush on;
    access_log off;
    keepalive_requests 1000000000;
    open_file_cache max=100 inactive=1h;
    open_file_cache_valid 1h;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen {address};
        location / {{ root {root}; add_header Cache-Control \"public, max-age=31536000, immutable\"; }}
    }}
}}
"
    )
}

/// Debian puts it where only the administrator's path leads.
fn nginx_program() -> PathBuf {
    let debian = Path::new("/usr/sbin/nginx");
    if debian.is_file() { debian.to_owned() } else { "nginx".into() }
}

fn nginx_version() -> Result<String> {
    let output = Command::new(nginx_program()).arg("-v").output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    Ok(text.trim().trim_start_matches("nginx version: ").replace('/', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_read_from_what_wrk_prints() {
        let text = "Running 3s test\n  71352 requests in 3.10s, 1.41GB read\nRequests/sec:  2.0\n";
        assert_eq!(totals(text), Some((71_352.0, 3.1)));
        assert_eq!(totals("unable to connect"), None);
    }

    #[test]
    fn failed_connections_and_other_sizes_are_no_measurement() {
        assert!(has_failures("  Socket errors: connect 0, read 3, write 0, timeout 0\n"));
        assert!(has_failures("  Non-2xx or 3xx responses: 7\n") && !has_failures("  7 requests in 3.10s"));
        assert_eq!(length_near(19_100, 20_000).unwrap(), 19_100);
        assert!(length_near(18_900, 20_000).is_err());
    }

    #[test]
    fn the_path_of_a_url_keeps_its_query() {
        assert_eq!(path_of("http://h:1/m/a?v=1").unwrap(), "/m/a?v=1");
        assert!(path_of("http://h").is_err());
    }
}
