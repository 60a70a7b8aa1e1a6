//! Providers as processes: the contract by which a context's provider is asked over HTTP, its client, its server and
//! its document. One mechanism for all contexts; what differs between them is one table, in `contract.rs`.

mod contract;
mod document;
mod problem;
mod remote;
mod serve;
mod server;

use std::sync::Arc;

use poem::endpoint::BoxEndpoint;
use workflows::Context;

use crate::store::Database;
use crate::{Modes, NotificationSettings, OpenError, Store, StoreFailure, built_in};

pub use document::openapi;
pub(crate) use remote::Remotes;
pub use serve::serve;

use contract::Serve;
use server::Server;

/// Where a provider keeps what it knows.
pub enum ProviderStore {
    /// In a store that is its alone, by URL: any that [`Store::open`] takes, or `postgres://…` for payment.
    At(String),
    /// In a database of its own of a store that is open.
    In(Store),
}

/// A built-in provider in a process of its own.
pub struct ProviderSetup {
    pub store: ProviderStore,
    /// For the notification provider.
    pub notifications: NotificationSettings,
    /// Whether anybody may make it misbehave.
    pub sandbox: bool,
    /// Tells where its store cannot be used any more.
    pub failure: StoreFailure,
}

/// The context's built-in provider behind its contract.
///
/// # Errors
/// Where the store cannot be reached, refuses a definition, or is of a kind that the context cannot be kept in.
pub async fn endpoint(context: Context, setup: &ProviderSetup) -> Result<BoxEndpoint<'static>, OpenError> {
    let modes = Arc::new(Modes::default());
    let store = match &setup.store {
        ProviderStore::At(url) if built_in::is_postgres(url) => {
            if context != Context::Payment {
                return Err(OpenError::UnsupportedStore { context });
            }
            let port = Box::new(built_in::payments_at(url, &setup.failure, &modes).await?);
            return Ok(served(context, setup, port, None, modes));
        }
        ProviderStore::At(url) => built_in::store(url, &setup.failure).await?,
        ProviderStore::In(store) => store.clone(),
    };
    let port: Box<dyn Serve> = match context {
        Context::Payment => Box::new(built_in::payments(&store, &modes).await?),
        Context::Stock => Box::new(built_in::stock(&store, &modes).await?),
        Context::Delivery => Box::new(built_in::deliveries(&store, &modes).await?),
        Context::Kitchen => Box::new(built_in::kitchen(&store, &modes).await?),
        Context::Promotion => Box::new(built_in::promotions(&store, &modes).await?),
        Context::Notification => Box::new(built_in::notifications(&store, &modes, &setup.notifications).await?),
    };
    let database = store.database(built_in::database(context)).await?;
    Ok(served(context, setup, port, Some(database), modes))
}

fn served(
    context: Context,
    setup: &ProviderSetup,
    port: Box<dyn Serve>,
    database: Option<Database>,
    modes: Arc<Modes>,
) -> BoxEndpoint<'static> {
    let sandbox = setup.sandbox.then_some(modes);
    Server { context, port, database, sandbox, document: openapi(context) }.guarded()
}

#[cfg(test)]
#[path = "provider_test.rs"]
mod tests;
