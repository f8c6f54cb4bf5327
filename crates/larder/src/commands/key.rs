//! `larder key`: API keys.

use larder_assets::{IssuedKey, KeyView, NewKey, Scope};
use larder_core::{Ambient, Timestamp};
use serde_json::{json, to_value};

use super::{Context, place};
use crate::{
    backend::Backend,
    cli::Key,
    failure::{Exit, Failure},
};

/// Creates, lists, revokes or rotates.
pub async fn run(context: &Context, larder: &dyn Backend, arguments: &Key) -> Result<Exit, Failure> {
    match arguments {
        Key::Create { name, scope, expires } => {
            let new = NewKey { name: name.clone(), scope: scope.clone(), expires_in: *expires };
            issued(context, &larder.create_key(new).await?)
        }
        Key::Ls => list(context, &larder.keys().await?),
        Key::Revoke { id } => {
            let key = larder.revoke_key(place::id(id)?).await?;
            context.output.answer(&to_value(&key).unwrap_or_default(), |output| {
                output.line(format!("revoked {} ({}): it is refused from now on", key.name, key.id))
            })?;
            Ok(Exit::Done)
        }
        Key::Rotate { id, overlap } => issued(context, &larder.rotate_key(place::id(id)?, *overlap).await?),
    }
}

fn issued(context: &Context, issued: &IssuedKey) -> Result<Exit, Failure> {
    context.output.answer(&to_value(issued).unwrap_or_default(), |output| {
        output.line(format!("key     {} ({})", issued.key.id, issued.key.name))?;
        output.line(format!("secret  {}", issued.secret))?;
        output.line(format!("signing {}", issued.signing_secret))?;
        output.note("These are shown once. Send the secret as `Authorization: Bearer <secret>`.");
        Ok(())
    })?;
    Ok(Exit::Done)
}

fn list(context: &Context, keys: &[KeyView]) -> Result<Exit, Failure> {
    context.output.answer(&json!({ "items": keys, "next": null }), |output| {
        let mut table = output.table(["id", "name", "scope", "state", "created", "expires"]);
        let now = Ambient::system().now();
        for key in keys {
            table.row([
                key.id.to_string(),
                key.name.clone(),
                scope_text(&key.scope),
                state(key, now).to_owned(),
                key.created_at.to_string(),
                key.expires_at.map_or_else(|| "never".to_owned(), |at| at.to_string()),
            ]);
        }
        output.print_table(&table, "there is no key")
    })?;
    Ok(Exit::Done)
}

fn state(key: &KeyView, now: Timestamp) -> &'static str {
    match (key.revoked_at, key.expires_at, key.rotated_to) {
        (Some(_), ..) => "revoked",
        (_, Some(end), _) if end <= now => "expired",
        (.., Some(_)) => "rotated",
        _ => "active",
    }
}

/// The scope as `key create` takes it.
fn scope_text(scope: &Scope) -> String {
    if *scope == Scope::admin() {
        return "admin".to_owned();
    }
    let actions: Vec<&str> = scope.actions.iter().map(|action| action.as_str()).collect();
    format!("{}:{}:{}", scope.buckets.join(","), scope.prefixes.join(","), actions.join(","))
}
