//! When assets and variants were last served.
//!
//! Every request may note one, so they are ephemeral. Collectors decide by the variant's record,
//! into which [`Catalog::fold_last_uses`] brings them now and then; one that is lost in between makes
//! a variant look unused for longer than it was, and it is made again when it is wanted.

use larder_core::{AssetId, Timestamp, VariantId};

use crate::{
    catalog::Catalog,
    db::{FromRow, Row, Statement},
    error::Result,
    page::bounded,
    tx::Class,
};

/// What was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Touched {
    /// An asset's own bytes.
    Asset(AssetId),
    /// A variant.
    Variant(VariantId),
}

impl Touched {
    fn columns(self) -> (&'static str, String) {
        match self {
            Self::Asset(id) => ("asset", id.to_string()),
            Self::Variant(id) => ("variant", id.to_string()),
        }
    }
}

struct LastUse {
    id: String,
    used_at: Timestamp,
}

impl FromRow for LastUse {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self { id: row.get("id")?, used_at: row.time("used_at")? })
    }
}

impl Catalog {
    /// Notes that these were served now. Gather them and call this every few seconds.
    pub async fn touch(&self, touched: Vec<Touched>) -> Result<()> {
        let now = self.ambient().now();
        self.commit(Class::Ephemeral, move |tx| {
            Box::pin(async move {
                for one in touched {
                    let (kind, id) = one.columns();
                    let columns = vec![("kind", kind.into()), ("id", id.into()), ("used_at", now.into())];
                    let upsert = Statement::insert("last_uses", columns)
                        .push(" ON CONFLICT (kind, id) DO UPDATE SET used_at = excluded.used_at");
                    tx.execute(Class::Ephemeral, upsert).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// When this was last served, as far as was noted.
    pub async fn last_use(&self, of: Touched) -> Result<Option<Timestamp>> {
        let (kind, id) = of.columns();
        let select = Statement::new("SELECT id, used_at FROM last_uses WHERE 1 = 1")
            .and("kind = ", kind)
            .and("id = ", id);
        Ok(self.first::<LastUse>(Class::Ephemeral, select).await?.map(|last| last.used_at))
    }

    /// Brings noted uses of variants into their records and forgets the notes; answers how many.
    /// Call it until it answers less than `limit`.
    pub async fn fold_last_uses(&self, limit: u32) -> Result<u64> {
        let select = Statement::new(
            "SELECT id, used_at FROM last_uses WHERE kind = 'variant' ORDER BY used_at LIMIT ",
        )
        .bind(bounded(limit));
        let uses = self.rows::<LastUse>(Class::Ephemeral, select).await?;
        let count = uses.len() as u64;
        let uses = self
            .commit(Class::Durable, move |tx| {
                Box::pin(async move {
                    for one in &uses {
                        let update =
                            Statement::update("variants", vec![("last_used_at", one.used_at.into())])
                                .push(" WHERE 1 = 1")
                                .and("id = ", &one.id)
                                .and("last_used_at < ", one.used_at);
                        tx.execute(Class::Durable, update).await?;
                    }
                    Ok(uses)
                })
            })
            .await?;
        self.commit(Class::Ephemeral, move |tx| {
            Box::pin(async move {
                for one in uses {
                    // Unless it was used again in the meantime.
                    let delete = Statement::new("DELETE FROM last_uses WHERE kind = 'variant'")
                        .and("id = ", one.id)
                        .and("used_at = ", one.used_at);
                    tx.execute(Class::Ephemeral, delete).await?;
                }
                Ok(())
            })
        })
        .await?;
        Ok(count)
    }
}
