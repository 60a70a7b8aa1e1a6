//! The parameters that operations document, and no others: what a caller misspells must not be ignored.

use std::collections::HashMap;
use std::sync::Arc;

use poem::endpoint::BoxEndpoint;
use poem::http::Method;
use poem::{Endpoint, EndpointExt, Request, Response};
use poem_openapi::OpenApi;
use poem_openapi::error::ParsePathError;
use poem_openapi::registry::{MetaOperation, MetaParamIn, Registry};
use serde_json::Value as Json;

use crate::explain::{Schemas, excerpt, listed};
use crate::framework::readable;
use crate::kind::Kind;
use crate::problem::Problem;

/// What an operation documents.
struct Parameters {
    query: Vec<Known>,
    /// What the caller chooses: the last part of a PUT's path, unless it is one of a closed set. If it is malformed,
    /// that is a mistake in the request, not a thing that is not there.
    chosen: Option<Chosen>,
}

struct Chosen {
    name: String,
    /// What the framework calls it.
    number: String,
}

struct Known {
    name: String,
    /// Empty: any.
    values: Vec<Json>,
}

/// Makes the operations of `T` in the table refuse all parameters that they do not document.
pub(crate) fn check<T: OpenApi>(table: &mut HashMap<String, HashMap<Method, BoxEndpoint<'static>>>) {
    let mut registry = Registry::new();
    T::register(&mut registry);
    let paths = T::meta().into_iter().flat_map(|api| api.paths);
    let operations: Vec<_> = paths
        .flat_map(|path| path.operations.into_iter().map(move |operation| (shape(&path.path), operation)))
        .collect();
    for (path, verbs) in table {
        for (_, operation) in operations.iter().filter(|(documented, _)| *documented == shape(path)) {
            if let Some(endpoint) = verbs.remove(&operation.method) {
                let parameters = Arc::new(Parameters::of(operation, &registry));
                let checked = endpoint.around(move |next, request| checked(parameters.clone(), next, request));
                verbs.insert(operation.method.clone(), checked.boxed());
            }
        }
    }
}

/// A path without the names of its parameters, which the table does not know.
fn shape(path: &str) -> String {
    let parts = path.split('/').filter(|part| !part.is_empty());
    parts.fold(String::new(), |shape, part| shape + "/" + if part.starts_with([':', '{']) { ":" } else { part })
}

async fn checked(
    parameters: Arc<Parameters>,
    next: Arc<BoxEndpoint<'static>>,
    request: Request,
) -> poem::Result<Response> {
    parameters.admit(&request)?;
    next.call(request).await.map_err(|error| match (error.downcast_ref::<ParsePathError>(), &parameters.chosen) {
        (Some(malformed), Some(Chosen { name, number })) if malformed.name == number => {
            invalid(name, &readable(&malformed.reason)).into()
        }
        _ => error,
    })
}

impl Parameters {
    fn of(operation: &MetaOperation, registry: &Registry) -> Self {
        let schemas = Schemas(&registry.schemas);
        let within = |place| operation.params.iter().filter(move |parameter| parameter.in_type == place);
        let known = |place| {
            within(place).map(|parameter| Known {
                name: parameter.name.clone(),
                values: schemas.resolved(&parameter.schema).map(|schema| schema.enum_items.clone()).unwrap_or_default(),
            })
        };
        let chosen = known(MetaParamIn::Path).enumerate().last().filter(|(_, last)| last.values.is_empty());
        let chosen = chosen.map(|(n, last)| Chosen { name: last.name, number: format!("param{n}") });
        Self { query: known(MetaParamIn::Query).collect(), chosen: chosen.filter(|_| operation.method == Method::PUT) }
    }

    fn admit(&self, request: &Request) -> Result<(), Problem> {
        let said: Vec<(String, String)> = request.params().map_err(|_| {
            Problem::new(Kind::InvalidRequest, "The query is malformed. Write it as `name=value&name=value`.")
        })?;
        for (n, (name, value)) in said.iter().enumerate() {
            let Some(known) = self.query.iter().find(|known| known.name == *name) else {
                let names: Vec<_> = self.query.iter().map(|known| known.name.as_str()).collect();
                let known = if names.is_empty() { "it has none".to_owned() } else { names.join(", ") };
                return Err(invalid(&excerpt(name), &format!("unknown; this path's parameters: {known}")));
            };
            if said.iter().take(n).any(|(before, _)| before == name) {
                return Err(invalid(name, "given more than once"));
            }
            if !known.values.is_empty() && !known.values.contains(&value.as_str().into()) {
                return Err(invalid(name, &format!("expected {}", listed(&known.values))));
            }
        }
        Ok(())
    }
}

fn invalid(name: &str, what: &str) -> Problem {
    Problem::new(Kind::InvalidRequest, format!("Parameter `{name}` is not as documented: {what}."))
}
