//! The loop of a worker: claim, run, store the end.

use std::{sync::Arc, time::Duration};

use larder_assets::{Larder, ProcessName, jobs::QUEUES};
use larder_catalog::WorkerRecord;
use larder_core::Fault;
use tokio::{sync::Semaphore, task::JoinHandle, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{attempt, schedules};

/// How often the queue is asked behind the notices, which other processes can't send on SQLite.
const POLL: Duration = Duration::from_millis(500);

/// How often workers look for jobs of dead ones and tell that they are there themselves.
const HOUSEKEEPING: Duration = Duration::from_secs(10);

/// What a worker takes and how much at a time.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// The queues to serve; all if empty.
    pub queues: Vec<String>,
    /// Jobs at a time.
    pub concurrency: usize,
    /// Whether this worker enqueues what comes by schedule. Of several workers each firing is
    /// enqueued by one.
    pub schedules: bool,
    /// Whether schedules that are stored otherwise become what the settings of this process say. Not those of a
    /// command that may have been given without the server's configuration.
    pub replaces_schedules: bool,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        // One more than cores: while pictures are computed, another job can wait for the disk.
        Self { queues: Vec::new(), concurrency: cores + 1, schedules: true, replaces_schedules: true }
    }
}

/// A running worker. Dropped without [`stop`](Self::stop), its jobs are cut off and taken over when
/// their leases run out.
#[derive(Debug)]
pub struct Worker {
    stopping: CancellationToken,
    cut: CancellationToken,
    running: TaskTracker,
    main: JoinHandle<()>,
}

impl Worker {
    /// Starts a worker.
    ///
    /// # Errors
    /// The catalogue's, from declaring the schedules.
    pub async fn start(larder: Larder, options: WorkerOptions) -> Result<Self, Fault> {
        if options.schedules {
            schedules::declare(&larder, options.replaces_schedules).await?;
        }
        let (stopping, cut) = (CancellationToken::new(), CancellationToken::new());
        let running = TaskTracker::new();
        let shift = Shift {
            name: format!("{}/{}", ProcessName::current(), larder.ambient().now().as_millis() % 1_000_000),
            queues: match options.queues.is_empty() {
                true => QUEUES.iter().map(|queue| (*queue).to_owned()).collect(),
                false => options.queues,
            },
            places: Arc::new(Semaphore::new(options.concurrency.max(1))),
            schedules: options.schedules,
            larder,
            stopping: stopping.clone(),
            cut: cut.clone(),
            running: running.clone(),
        };
        let main = tokio::spawn(shift.work());
        Ok(Self { stopping, cut, running, main })
    }

    /// Takes no more jobs and lets those that run end, for at most `grace`. What runs longer is cut off
    /// and taken over by another worker. Answers whether all ended.
    pub async fn stop(mut self, grace: Duration) -> bool {
        self.stopping.cancel();
        let _ = (&mut self.main).await;
        self.running.close();
        tokio::time::timeout(grace, self.running.wait()).await.is_ok()
    }

    /// Works until nothing is left that could run now: for commands that do their own work.
    ///
    /// # Errors
    /// The catalogue's.
    pub async fn drain(larder: &Larder) -> Result<(), Fault> {
        let name = format!("{}/drain", ProcessName::current());
        let queues: Vec<String> = QUEUES.iter().map(|queue| (*queue).to_owned()).collect();
        while let Some(claim) = larder.catalog().claim(&name, &queues, attempt::LEASE).await? {
            attempt::run(larder, claim, &CancellationToken::new()).await;
        }
        Ok(())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stopping.cancel();
        self.cut.cancel();
        self.main.abort();
    }
}

/// What the loop of a worker holds.
struct Shift {
    name: String,
    queues: Vec<String>,
    places: Arc<Semaphore>,
    schedules: bool,
    larder: Larder,
    stopping: CancellationToken,
    cut: CancellationToken,
    running: TaskTracker,
}

impl Shift {
    async fn work(self) {
        let mut signal = self.larder.catalog().job_signal();
        let mut housekeeping = Instant::now();
        let record = self.record();
        while !self.stopping.is_cancelled() {
            if Instant::now() >= housekeeping {
                housekeeping = Instant::now() + HOUSEKEEPING;
                self.keep_house(&record).await;
            }
            match self.take_one(housekeeping).await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(fault) => {
                    tracing::warn!(%fault, "the queue can't be asked; trying again");
                    self.pause(Duration::from_secs(1)).await;
                }
            }
            tokio::select! {
                () = self.stopping.cancelled() => {}
                () = signal.wait() => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
        if let Err(error) = self.larder.catalog().remove_worker(&record.id).await {
            tracing::debug!(%error, "the worker could not take itself off the list");
        }
    }

    /// Claims and begins a job, as soon as there is a place for one. `false` if none waits. Also comes
    /// back when it is time for housekeeping: while long jobs hold all places, those of dead workers
    /// must be found and schedules fire all the same.
    async fn take_one(&self, housekeeping: Instant) -> Result<bool, Fault> {
        let place = tokio::select! {
            place = self.places.clone().acquire_owned() => place,
            () = tokio::time::sleep_until(housekeeping) => return Ok(true),
            () = self.stopping.cancelled() => return Ok(false),
        };
        let Ok(place) = place else { return Ok(false) };
        let Some(claim) = self.larder.catalog().claim(&self.name, &self.queues, attempt::LEASE).await? else {
            return Ok(false);
        };
        let (larder, stopping, cut) = (self.larder.clone(), self.stopping.clone(), self.cut.clone());
        self.running.spawn(async move {
            let _place = place;
            // Cut off anywhere is what a kill is, which every job is made for.
            cut.run_until_cancelled(attempt::run(&larder, claim, &stopping)).await;
        });
        Ok(true)
    }

    async fn keep_house(&self, record: &WorkerRecord) {
        if let Err(fault) = self.try_keep_house(record).await {
            tracing::warn!(%fault, "housekeeping of the queue failed; it comes again");
        }
    }

    async fn try_keep_house(&self, record: &WorkerRecord) -> Result<(), Fault> {
        self.larder.catalog().report_worker(record).await?;
        let taken = self.larder.take_over_abandoned().await?;
        if taken > 0 {
            tracing::info!(jobs = taken, "took over jobs of workers that vanished");
        }
        if self.schedules {
            schedules::fire(&self.larder).await?;
        }
        Ok(())
    }

    fn record(&self) -> WorkerRecord {
        let now = self.larder.ambient().now();
        WorkerRecord {
            id: self.name.clone(),
            host: self.name.split('/').next().unwrap_or_default().to_owned(),
            pid: std::process::id(),
            queues: self.queues.clone(),
            started_at: now,
            seen_at: now,
        }
    }

    async fn pause(&self, time: Duration) {
        tokio::select! {
            () = self.stopping.cancelled() => {}
            () = tokio::time::sleep(time) => {}
        }
    }
}
