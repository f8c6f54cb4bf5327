//! PostgreSQL: one pool, everything in the schema `larder`.

use std::{str::FromStr, sync::Arc, time::Duration};

use larder_core::Ambient;
use sqlx::{
    Connection as _, PgConnection, PgPool, Row as _,
    pool::PoolConnectionMetadata,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};

use super::{Connection, Operation, Row, Statement, connection::fetch_postgres};
use crate::{
    catalog::Shared,
    error::{Error, Result},
    migrate,
    tx::{Class, Tx},
};

/// Connections of one process. Below PostgreSQL's default of 100 for about eight processes.
const CONNECTIONS_MAX: u32 = 12;

/// How long a caller waits for a connection.
const CONNECTION_WAIT_MAX: Duration = Duration::from_secs(10);

/// How long after its last use a connection is taken for alive. Shorter than a server takes to restart.
const TRUSTED_FOR: Duration = Duration::from_secs(5);

/// The channel on which workers of other processes hear of new jobs.
const JOBS_CHANNEL: &str = "larder_jobs";

/// Pause before listening again after the listener's connection was lost; polling covers it.
const LISTEN_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// An open PostgreSQL database.
#[derive(Clone)]
pub(crate) struct PostgresDb {
    pool: PgPool,
    shared: Arc<Shared>,
}

impl PostgresDb {
    pub(crate) async fn open(url: &str, ambient: &Ambient, shared: &Arc<Shared>) -> Result<Self> {
        let options = PgConnectOptions::from_str(url)?.application_name("larder");
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .acquire_timeout(CONNECTION_WAIT_MAX)
            .after_connect(|connection, _| Box::pin(prepare(connection)))
            .test_before_acquire(false)
            .before_acquire(|connection, metadata| Box::pin(is_usable(connection, metadata)))
            .connect_with(options)
            .await?;
        let mut connection = pool.acquire().await?;
        check_durability(&mut connection).await?;
        migrate::postgres::refuse_newer(&mut connection).await?;
        drop(connection);
        tokio::spawn(relay_hints(pool.clone(), Arc::downgrade(shared), instance_name(ambient)));
        Ok(Self { pool, shared: Arc::clone(shared) })
    }

    pub(crate) fn pool(&self) -> &PgPool {
        &self.pool
    }

    pub(crate) async fn fetch(&self, statement: Statement) -> Result<Vec<Row>> {
        fetch_postgres(&self.pool, statement).await
    }

    /// Runs a transaction in a task of its own: a caller that goes away neither tears it nor leaves
    /// a connection with an open transaction in the pool.
    pub(crate) async fn run(&self, class: Class, operation: Box<dyn Operation>) {
        let this = self.clone();
        // Only a shutdown of the runtime ends the task early; the operation's channel then closes.
        let _ = tokio::spawn(async move { this.transact(class, operation).await }).await;
    }

    async fn transact(&self, class: Class, mut operation: Box<dyn Operation>) {
        let mut tx = match self.begin(class).await {
            Ok(tx) => tx,
            Err(error) => return operation.settle(Err(error)),
        };
        if let Err(refusal) = operation.run(&mut tx).await {
            if tx.control("ROLLBACK").await.is_err() {
                discard(tx);
            }
            return operation.settle(Err(refusal));
        }
        if let Err(error) = tx.control("COMMIT").await {
            discard(tx);
            return operation.settle(Err(error));
        }
        self.shared.counters(class).count(1);
        let announcements = tx.take_announcements();
        drop(tx);
        let passed = match self.shared.barrier(class) {
            Some(barrier) => barrier.passed().await,
            None => Ok(()),
        };
        operation.settle(passed);
        self.shared.announce(announcements);
    }

    async fn begin(&self, class: Class) -> Result<Tx> {
        let connection = Connection::Postgres(self.pool.acquire().await?);
        let mut tx = Tx::new(connection, class, self.shared.ambient.clone());
        let begin = match class {
            Class::Durable => "BEGIN ISOLATION LEVEL READ COMMITTED",
            Class::Ephemeral => "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL synchronous_commit = off",
        };
        if let Err(error) = tx.control(begin).await {
            discard(tx);
            return Err(error);
        }
        Ok(tx)
    }

    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }
}

/// Closes the connection of a transaction instead of giving it back in an unknown state.
fn discard(mut tx: Tx) {
    if let Connection::Postgres(connection) = tx.connection() {
        connection.close_on_drop();
    }
}

/// Settings of every connection: our schema, commits that survive a crash, and no wait for locks or
/// idle transaction without end. The database's own setting was judged when it was opened, and may have
/// been changed since; a stronger one than `on` stays.
async fn prepare(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::raw_sql(
        "SET search_path TO larder; SET lock_timeout = '10s'; \
         SET idle_in_transaction_session_timeout = '60s'; SET client_min_messages = 'warning'; \
         SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'",
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Whether a connection of the pool still leads to the server: asked only of one that was idle, because
/// the question takes a round trip, as long as most reads.
async fn is_usable(connection: &mut PgConnection, metadata: PoolConnectionMetadata) -> sqlx::Result<bool> {
    if metadata.idle_for > TRUSTED_FOR {
        connection.ping().await?;
    }
    Ok(true)
}

/// An acknowledged upload has to survive a crash of the server.
async fn check_durability(connection: &mut PgConnection) -> Result<()> {
    let row = sqlx::query(
        // Not the present value, which `prepare` has raised.
        "SELECT (SELECT reset_val FROM pg_settings WHERE name = 'synchronous_commit') AS commit, \
         current_setting('fsync') AS fsync",
    )
    .fetch_one(connection)
    .await?;
    if row.try_get::<String, _>("commit")? == "off" {
        return Err(Error::invalid(
            "PostgreSQL runs with synchronous_commit = off: acknowledged uploads would be lost in a crash",
            "set synchronous_commit = on for the database or role: ALTER ROLE <role> SET synchronous_commit = on",
        ));
    }
    if row.try_get::<String, _>("fsync")? == "off" {
        tracing::warn!("PostgreSQL runs with fsync = off: a loss of power can destroy the catalogue");
    }
    Ok(())
}

fn instance_name(ambient: &Ambient) -> String {
    u64::from_le_bytes(ambient.random_bytes()).to_string()
}

/// Tells other processes of new jobs, and hears of theirs. Both are hints: workers poll as well, so
/// a lost one costs half a second.
async fn relay_hints(pool: PgPool, shared: std::sync::Weak<Shared>, instance: String) {
    let Some(mut enqueued) = shared.upgrade().map(|shared| shared.own_jobs()) else { return };
    loop {
        let mut listener = match listen(&pool).await {
            Ok(listener) => Some(listener),
            Err(_) if pool.is_closed() => return,
            Err(error) => {
                tracing::debug!(%error, "can't listen for jobs; polling goes on");
                None
            }
        };
        loop {
            let heard = async {
                match &mut listener {
                    Some(listener) => listener.recv().await,
                    None => {
                        tokio::time::sleep(LISTEN_AGAIN_AFTER).await;
                        Err(sqlx::Error::PoolTimedOut)
                    }
                }
            };
            tokio::select! {
                changed = enqueued.changed() => match changed {
                    Ok(()) => tell(&pool, &instance).await,
                    Err(_) => return,
                },
                notification = heard => match notification {
                    Ok(notification) if notification.payload() == instance => {}
                    Ok(_) => match shared.upgrade() {
                        Some(shared) => shared.wake_workers(),
                        None => return,
                    },
                    Err(_) => break,
                },
            }
        }
    }
}

async fn listen(pool: &PgPool) -> sqlx::Result<PgListener> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(JOBS_CHANNEL).await?;
    Ok(listener)
}

async fn tell(pool: &PgPool, instance: &str) {
    let sent = sqlx::query("SELECT pg_notify($1, $2)").bind(JOBS_CHANNEL).bind(instance).execute(pool).await;
    if let Err(error) = sent {
        tracing::debug!(%error, "can't notify workers; polling goes on");
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        catalog::Catalog,
        db::{Db, Target},
    };
    use larder_core::Ambient;
    use sqlx::Row as _;

    #[tokio::test]
    async fn connections_wait_for_the_disk_whatever_became_of_the_servers_setting() {
        let database = larder_testkit::postgres::database().await;
        let target = Target::from_url(&database.url).unwrap();
        let catalog = Catalog::open(&target, Ambient::system()).await.unwrap();
        let name = database.psql("SELECT current_database()");
        database.psql(&format!("ALTER DATABASE {} SET synchronous_commit = off", name.trim()));
        let Db::Postgres(db) = catalog.db() else { panic!("not PostgreSQL") };
        let mut held = Vec::new();
        for _ in 0..6 {
            let mut connection = db.pool().acquire().await.unwrap();
            let row = sqlx::query("SHOW synchronous_commit").fetch_one(&mut *connection).await.unwrap();
            assert_eq!(row.get::<String, _>(0), "on");
            held.push(connection);
        }
    }
}
