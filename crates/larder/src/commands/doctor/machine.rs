//! The machine: folders, room, and who runs jobs.

use std::{path::Path, time::Duration};

use larder_assets::Larder;
use larder_store::Verdict;

use super::{Section, bad_fault};
use crate::config::Config;

/// Room below which a disk is as good as full.
const ROOM_MIN_BYTES: u64 = 1 << 30;

/// Age of the oldest waiting job beyond which the workers don't keep up.
const QUEUE_AGE_MAX: Duration = Duration::from_secs(300);

/// Folders and their room.
pub fn look_at(config: &Config) -> Section {
    let mut section = Section::new("machine");
    section.add("data", room(&config.data_dir));
    if let Some(root) = config.root_of(config.store.backend) {
        section.add("media", room(&root));
    }
    section
}

fn room(folder: &Path) -> Verdict {
    // What is not there yet lies on the disk of the folder above.
    let existing = folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("."));
    match rustix::fs::statvfs(existing) {
        Err(error) => Verdict::Bad {
            cause: format!("{} can't be looked at: {error}", existing.display()),
            remedy: "check the path and its permissions".to_owned(),
        },
        Ok(found) => {
            let free = found.f_bavail * found.f_frsize;
            let told = format!("{}, {:.1} GiB free", folder.display(), free as f64 / (1_u64 << 30) as f64);
            match free < ROOM_MIN_BYTES {
                true => Verdict::Bad {
                    cause: format!("{told}: uploads are about to fail"),
                    remedy: "make room, for instance with `larder gc`, or name a larger disk with store.root"
                        .to_owned(),
                },
                false => Verdict::Good(told),
            }
        }
    }
}

/// Who runs jobs, and how long they wait.
pub async fn look_at_jobs(larder: &Larder) -> Section {
    let mut section = Section::new("jobs");
    let workers = match larder.workers().await {
        Ok(workers) => workers.len(),
        Err(fault) => {
            section.add("workers", bad_fault(fault));
            return section;
        }
    };
    match larder.queues().await {
        Err(fault) => section.add("queues", bad_fault(fault)),
        Ok(queues) => {
            let waiting: Vec<_> = queues.iter().filter(|queue| queue.state == "queued").collect();
            let jobs: u64 = waiting.iter().map(|queue| queue.jobs).sum();
            let oldest = waiting.iter().map(|queue| larder.ambient().now().since(queue.oldest_run_at)).max();
            let age = oldest.unwrap_or_default();
            section.add(
                "workers",
                match (workers, jobs) {
                    (0, 0) => Verdict::Lacking("none runs now; nothing waits".to_owned()),
                    (0, jobs) => Verdict::Bad {
                        cause: format!("{jobs} jobs wait, and nobody runs them"),
                        remedy: "start `larder serve` or `larder worker`".to_owned(),
                    },
                    (workers, jobs) if age > QUEUE_AGE_MAX => Verdict::Bad {
                        cause: format!(
                            "{workers} workers run, and {jobs} jobs wait, the oldest for {} s",
                            age.as_secs()
                        ),
                        remedy: "start more workers (`larder worker`), or look at `larder jobs ls`"
                            .to_owned(),
                    },
                    (workers, jobs) => Verdict::Good(format!("{workers} run, {jobs} jobs wait")),
                },
            );
        }
    }
    section
}
