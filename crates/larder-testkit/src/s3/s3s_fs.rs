//! The server `s3s-fs`, in a thread of this process.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
};

use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use larder_store::{Profile, S3Options};
use s3s::{auth::SimpleAuth, service::S3ServiceBuilder};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::oneshot};

use super::{ACCESS_KEY_ID, SECRET_ACCESS_KEY, key};

/// A server with a folder of its own. It can be stopped and started again at the same address, with the same
/// objects.
#[derive(Debug)]
pub struct S3sFs {
    folder: TempDir,
    address: SocketAddr,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    stop: oneshot::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl S3sFs {
    /// Starts a server.
    ///
    /// # Panics
    /// It can't be started.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (address, running) = run(folder.path(), (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        Self { folder, address, running: Some(running) }
    }

    /// Where it listens, as a URL.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The folder of a bucket, whose files are the objects; makes the bucket if there is none.
    ///
    /// # Panics
    /// The folder can't be made.
    pub fn bucket(&self, name: &str) -> PathBuf {
        let folder = self.folder.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// How to reach a bucket, which is made.
    ///
    /// # Panics
    /// As [`bucket`](Self::bucket).
    pub fn options(&self, bucket: &str) -> S3Options {
        self.bucket(bucket);
        let mut options = S3Options::new(Profile::Minio, bucket, key());
        options.endpoint = Some(self.endpoint().parse().unwrap());
        options
    }

    /// Ends the server at once: connections are cut wherever they are.
    pub fn stop(&mut self) {
        if let Some(Running { stop, thread }) = self.running.take() {
            let _ = stop.send(());
            let _ = thread.join();
        }
    }

    /// Starts it again after [`stop`](Self::stop), at the same address.
    ///
    /// # Panics
    /// Somebody else has taken the address.
    pub fn restart(&mut self) {
        self.stop();
        let (_, running) = run(self.folder.path(), self.address).unwrap();
        self.running = Some(running);
    }
}

impl Drop for S3sFs {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(folder: &Path, address: SocketAddr) -> io::Result<(SocketAddr, Running)> {
    let files = FileSystem::new(folder).map_err(|error| io::Error::other(format!("{error:?}")))?;
    let mut builder = S3ServiceBuilder::new(files);
    builder.set_auth(SimpleAuth::from_single(ACCESS_KEY_ID, SECRET_ACCESS_KEY));
    let service = builder.build();
    let (stop, stopped) = oneshot::channel();
    let (tell, told) = mpsc::channel();
    let thread = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime for a test server");
        runtime.block_on(async move {
            // The port may take a moment to be free after a restart.
            let listener = match TcpListener::bind(address).await {
                Ok(listener) => listener,
                Err(error) => {
                    let _ = tell.send(Err(error));
                    return;
                }
            };
            let _ = tell.send(listener.local_addr());
            let accept = async {
                loop {
                    let Ok((socket, _)) = listener.accept().await else { continue };
                    let _ = socket.set_nodelay(true);
                    let service = service.clone();
                    tokio::spawn(async move {
                        let server = auto::Builder::new(TokioExecutor::new());
                        let _ = server.serve_connection(TokioIo::new(socket), service).await;
                    });
                }
            };
            tokio::select! {
                () = accept => {}
                _ = stopped => {}
            }
        });
        runtime.shutdown_background();
    });
    let address = told.recv().map_err(io::Error::other)??;
    Ok((address, Running { stop, thread }))
}
