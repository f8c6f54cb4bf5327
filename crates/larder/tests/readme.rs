//! Every console example of the README works as written, in its order.

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use larder_testkit::{
    fixtures,
    server::{command, printed},
};
use tempfile::TempDir;

/// How the README calls the program.
const CALL: &str = "cargo run --release --";

/// Where the README's server listens.
const ADDRESS: &str = "127.0.0.1:8000";

/// Time within which the README's server has to be ready.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// The only example that is not run: it would run this test.
const RUNS_THIS_TEST: &str = "cargo xtask test";

/// The shell examples of a page.
fn examples(page: &str) -> Vec<&str> {
    page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect()
}

/// A process that ends with the test.
struct Background(Child);

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Reader {
    folder: TempDir,
    address: String,
    server: Option<Background>,
}

impl Reader {
    /// Someone with a photo in an empty folder.
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("photo.jpg"), fixtures::jpeg(1600, 1200)).unwrap();
        // Freed again at once: the README's server takes it a moment later.
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        Self { folder, address: free.to_string(), server: None }
    }

    /// The shell with a text in which nothing but the program's path and the port was replaced.
    fn shell(&self, example: &str) -> Command {
        let binary = env!("CARGO_BIN_EXE_larder");
        let text = example.replace(CALL, binary).replace(ADDRESS, &self.address);
        let mut shell = command(Path::new("sh"));
        shell
            .args(["-e", "-c", &text])
            .current_dir(self.folder.path())
            .env("PORT", self.address.rsplit(':').next().unwrap());
        shell
    }

    fn serve(&mut self, example: &str) {
        let example = format!("exec {example}");
        let mut child = self.shell(&example).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let start = Instant::now();
        let ready = lines.find(|line| line.contains("listens on") || start.elapsed() > READY_WITHIN);
        assert!(ready.is_some_and(|line| line.contains(&self.address)), "the server is not ready");
        std::thread::spawn(move || lines.for_each(drop));
        self.server = Some(Background(child));
    }

    fn run(&self, example: &str) {
        let output = self.shell(example).output().unwrap();
        assert!(output.status.success(), "{example}: {}", printed(&output));
    }
}

#[test]
fn i11_every_example_of_the_readme_works() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md")).unwrap();
    let examples = examples(&page);
    assert!(examples.len() >= 4, "{examples:?}");
    let mut reader = Reader::new();
    for example in examples {
        match example.trim() {
            RUNS_THIS_TEST => {}
            text if text.ends_with("serve") => reader.serve(text),
            text => reader.run(text),
        }
    }
    let at = |file: &str| std::fs::read(reader.folder.path().join(file)).unwrap();
    assert_eq!(&at("picture.webp")[8..12], b"WEBP");
    assert_eq!(at("copy.jpg"), at("photo.jpg"));
    assert!(at("pictures/photo.artwork-small.webp").len() > 100);
}
