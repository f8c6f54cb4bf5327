//! Group commit: one writer takes the transactions that wait and commits them together.
//!
//! A commit costs one sync of the write-ahead log, whatever it holds. Sixteen uploads that end at
//! the same time therefore cost about one sync, not sixteen. Each transaction of a group runs in a
//! savepoint: one that fails or panics is rolled back alone.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::{
    Connection, Operation,
    sqlite::{BUSY_WAIT_MAX, SqliteFile},
};
use crate::{
    catalog::Shared,
    error::{Error, Result},
    tx::{Class, Tx},
};

/// Most transactions of one commit. The last waits for all others: 64 short ones take about 20 ms.
pub(crate) const GROUP_OPERATIONS_MAX: usize = 64;

/// Transactions that may wait for the writer before callers have to wait for a place in the queue.
const WAITING_OPERATIONS_MAX: usize = 256;

/// Mean pause before asking again for the lock that another process holds; a commit takes as long.
const BUSY_PAUSE: Duration = Duration::from_millis(2);

/// The handle of a writer task; the task ends when the last handle is gone.
pub(crate) struct GroupWriter {
    queue: mpsc::Sender<Box<dyn Operation>>,
}

impl GroupWriter {
    /// Starts the writer of one file.
    pub(crate) fn start(file: SqliteFile, class: Class, shared: Arc<Shared>) -> Self {
        let (queue, waiting) = mpsc::channel(WAITING_OPERATIONS_MAX);
        tokio::spawn(WriterTask { file, class, shared, tx: None }.serve(waiting));
        Self { queue }
    }

    /// Queues an operation. Whatever happens, the operation is settled.
    pub(crate) async fn submit(&self, operation: Box<dyn Operation>) {
        if let Err(refused) = self.queue.send(operation).await {
            refused.0.settle(Err(Error::unavailable("the catalogue's writer has stopped")));
        }
    }
}

struct WriterTask {
    file: SqliteFile,
    class: Class,
    shared: Arc<Shared>,
    /// Open between groups; dropped after a failure, so that the next group begins with a
    /// connection whose state is known.
    tx: Option<Tx>,
}

impl WriterTask {
    async fn serve(mut self, mut waiting: mpsc::Receiver<Box<dyn Operation>>) {
        let mut group = Vec::with_capacity(GROUP_OPERATIONS_MAX);
        while waiting.recv_many(&mut group, GROUP_OPERATIONS_MAX).await > 0 {
            self.write(std::mem::take(&mut group)).await;
        }
    }

    /// Runs a group and answers each of its callers.
    async fn write(&mut self, group: Vec<Box<dyn Operation>>) {
        let mut tx = match self.begin().await {
            Ok(tx) => tx,
            Err(error) => return settle(group, &Err(error)),
        };
        let ran = match run(&mut tx, group).await {
            Ok(ran) => ran,
            // Dropping the connection rolls back what it had begun.
            Err(broken) => return settle(broken.operations, &Err(broken.error)),
        };
        let end = if ran.is_empty() { "ROLLBACK" } else { "COMMIT" };
        if let Err(error) = tx.control(end).await {
            return settle(ran, &Err(not_committed(error)));
        }
        let announcements = tx.take_announcements();
        self.tx = Some(tx);
        if ran.is_empty() {
            return;
        }
        self.shared.counters(self.class).count(ran.len());
        match self.shared.barrier(self.class) {
            None => {
                settle(ran, &Ok(()));
                self.shared.announce(announcements);
            }
            // The next group is written while this one waits to be replicated.
            Some(barrier) => {
                let shared = Arc::clone(&self.shared);
                tokio::spawn(async move {
                    let passed = barrier.passed().await;
                    settle(ran, &passed);
                    shared.announce(announcements);
                });
            }
        }
    }

    /// Begins the transaction of a group, once no other process writes.
    async fn begin(&mut self) -> Result<Tx> {
        let mut tx = match self.tx.take() {
            Some(tx) => tx,
            None => {
                let connection = Connection::Sqlite(Box::new(self.file.connect_writer().await?));
                Tx::new(connection, self.class, self.shared.ambient.clone())
            }
        };
        let start = Instant::now();
        loop {
            match tx.control("BEGIN IMMEDIATE").await {
                Err(error) if error.is_busy() && start.elapsed() < BUSY_WAIT_MAX => {
                    // Short, because the lock is free only for a moment between two groups of a busy
                    // writer; random, so as not to keep in step with it.
                    let pause = BUSY_PAUSE.mul_f64(0.5 + self.shared.ambient.random_unit());
                    tokio::time::sleep(pause).await;
                }
                begun => return begun.map(|()| tx),
            }
        }
    }
}

/// The transaction as a whole can't go on.
struct Broken {
    operations: Vec<Box<dyn Operation>>,
    error: Error,
}

/// Runs each operation in a savepoint. Answers those that wait for the commit; those that failed have
/// been answered already.
async fn run(tx: &mut Tx, mut group: Vec<Box<dyn Operation>>) -> Result<Vec<Box<dyn Operation>>, Broken> {
    if group.len() == 1
        && let Some(operation) = group.pop()
    {
        return Ok(run_alone(tx, operation).await);
    }
    let mut ran: Vec<Box<dyn Operation>> = Vec::with_capacity(group.len());
    let mut rest = group.into_iter();
    let mut marked = tx.control("SAVEPOINT operation").await;
    loop {
        if let Err(failure) = marked {
            ran.extend(rest);
            return Err(Broken { operations: ran, error: not_committed(failure) });
        }
        let Some(mut operation) = rest.next() else { return Ok(ran) };
        let mark = tx.mark();
        marked = match operation.run(tx).await {
            Ok(()) => {
                ran.push(operation);
                match rest.len() {
                    // The commit ends the last savepoint.
                    0 => Ok(()),
                    _ => tx.control("RELEASE operation; SAVEPOINT operation").await,
                }
            }
            Err(refusal) => {
                tx.forget_since(mark);
                // The savepoint outlives this and serves the next operation.
                let undone = tx.control("ROLLBACK TO operation").await;
                // A full or failing disk rolls back the whole transaction (SQLite, "Response To Errors
                // Within A Transaction"): the savepoint is gone, and the operation's error tells why.
                let undone =
                    undone.map_err(|error| if refusal.is_transient() { refusal.clone() } else { error });
                operation.settle(Err(refusal));
                undone
            }
        };
    }
}

/// Runs the only operation of a group, which needs no savepoint: without it nothing is committed, and
/// the end of the transaction undoes what it did.
async fn run_alone(tx: &mut Tx, mut operation: Box<dyn Operation>) -> Vec<Box<dyn Operation>> {
    let mark = tx.mark();
    match operation.run(tx).await {
        Ok(()) => vec![operation],
        Err(refusal) => {
            tx.forget_since(mark);
            operation.settle(Err(refusal));
            Vec::new()
        }
    }
}

/// Nothing of a group whose commit failed is stored; its callers may try again.
fn not_committed(error: Error) -> Error {
    match error {
        error @ (Error::Unavailable { .. } | Error::Full { .. } | Error::Corrupt { .. }) => error,
        other => Error::Unavailable {
            what: "the catalogue could not commit".to_owned(),
            cause: Some(Arc::new(other)),
        },
    }
}

fn settle(operations: Vec<Box<dyn Operation>>, outcome: &Result<()>) {
    for operation in operations {
        operation.settle(outcome.clone());
    }
}
