//! What a server says when it is ready.

use std::net::SocketAddr;

use crate::config::{Config, StoreBackend};

/// A server that is ready.
pub struct Banner<'a> {
    /// The configuration it runs with.
    pub config: &'a Config,
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether it runs jobs.
    pub runs_jobs: bool,
    /// Whether a key exists; without one the person at this machine is the administrator.
    pub has_key: bool,
}

impl Banner<'_> {
    /// The lines, for people.
    pub fn text(&self) -> String {
        let config = self.config;
        let store = match config.store.backend {
            backend @ (StoreBackend::Local | StoreBackend::Local2) => {
                format!("{} {}", backend.name(), config.store_root().display())
            }
            StoreBackend::Memory => "memory: everything is gone when this process ends".to_owned(),
        };
        let jobs = if self.runs_jobs { "" } else { ", jobs wait for `larder worker`" };
        let mut lines = vec![
            format!("larder {} listens on http://{}{jobs}", env!("CARGO_PKG_VERSION"), self.address),
            format!("  catalogue  {}", config.database_label()),
            format!("  store      {store} ({})", config.store_reason()),
            format!("  data       {}", config.data_dir.display()),
        ];
        if let Some(url) = &config.public_url {
            lines.push(format!("  public     {url}"));
        }
        if !self.has_key {
            lines.push(format!(
                "  try        curl -F file=@photo.jpg 'http://{}/api/v1/uploads?wait=10'",
                self.address
            ));
        }
        lines.extend(config.notices.iter().map(|notice| format!("  notice     {notice}")));
        lines.join("\n")
    }
}
