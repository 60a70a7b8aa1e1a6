//! Problems: the one envelope of every 4xx and 5xx (RFC 9457). Each operation states with which kinds it answers.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::time::Duration;

use poem::http::header;
use poem::{IntoResponse, Response};
use poem_openapi::registry::{
    MetaHeader, MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, Registry,
};
use poem_openapi::types::{ToJSON, Type};
use poem_openapi::{ApiResponse, Object};
use serde_json::{Map, Value as Json, json};
use workflows::{Context, MerchantId, OrderId, Sku};

use crate::json::{CommandName, ContextName, Money, StatusName};
use crate::kind::Kind;
use crate::value::Checked;

pub(crate) const CONTENT_TYPE: &str = "application/problem+json";

/// One problem, on its way to the caller.
#[derive(Debug)]
pub(crate) struct Problem {
    kind: Kind,
    detail: Cow<'static, str>,
    members: Box<Members>,
    allow: Option<String>,
    /// Where it is known better than by the kind.
    retry_after_seconds: Option<u64>,
}

/// What a problem may carry beside `type`, `title` and `detail`.
#[derive(Debug, Default, Object)]
#[oai(skip_serializing_if_is_none)]
pub(crate) struct Members {
    /// The order that the problem is about.
    pub order_id: Option<Checked<OrderId>>,
    /// Why the payment provider declined, in its words.
    pub reason: Option<String>,
    /// The product that the problem is about.
    pub sku: Option<Checked<Sku>>,
    /// Pieces of the product that can still be ordered.
    pub available: Option<i64>,
    /// Pieces of the product that open orders hold.
    pub reserved: Option<i64>,
    /// What the order costs now.
    pub total: Option<Money>,
    /// The merchant that does not exist.
    pub merchant_id: Option<Checked<MerchantId>>,
    /// The order's status now.
    pub status: Option<StatusName>,
    /// The commands that the order takes from the caller now.
    pub allowed_commands: Option<Vec<CommandName>>,
    /// Everything that is wrong with the lifecycle.
    pub faults: Option<Vec<String>>,
    /// The context that does not answer.
    pub context: Option<ContextName>,
    /// How many orders match the filter now.
    pub matched: Option<u32>,
}

/// What went wrong and what to do about it (RFC 9457).
#[derive(Object)]
#[oai(rename = "Problem")]
struct Body {
    /// Which problem it is: a relative URI that never changes.
    #[oai(rename = "type")]
    kind: String,
    /// The kind of problem in a few words.
    title: String,
    /// What happened here and what to do about it, for a person.
    detail: String,
    #[oai(flatten)]
    members: Members,
}

impl Problem {
    pub(crate) fn new(kind: Kind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, detail: detail.into(), members: Box::default(), allow: None, retry_after_seconds: None }
    }

    #[must_use]
    pub(crate) fn with(self, members: Members) -> Self {
        Self { members: Box::new(members), ..self }
    }

    /// Asking again may be worth it after so long.
    #[must_use]
    pub(crate) fn after(self, time: Duration) -> Self {
        Self { retry_after_seconds: Some(whole_seconds(time)), ..self }
    }

    /// It is not known who asks. `detail` never repeats what came.
    pub(crate) fn unauthenticated(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Unauthenticated, detail)
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    pub(crate) fn not_found(what: impl std::fmt::Display) -> Self {
        Self::new(Kind::NotFound, format!("There is no {what}. Check the path."))
    }

    /// Nothing was decided, and the caller may repeat the request.
    pub(crate) fn try_again_later() -> Self {
        Self::new(
            Kind::TryAgainLater,
            "This cannot be done right now. Nothing was decided; asking again after Retry-After is safe.",
        )
    }

    /// The same of an order that was to be placed.
    pub(crate) fn nothing_stands() -> Self {
        Self::new(
            Kind::TryAgainLater,
            "This request placed no order and took no money for good: repeat it after Retry-After.",
        )
    }

    pub(crate) fn upstream_unavailable(context: Context) -> Self {
        let detail = format!("The {context} context does not answer right now. Please try again after Retry-After.");
        Self::new(Kind::UpstreamUnavailable, detail)
            .with(Members { context: Some(context.into()), ..Members::default() })
    }

    /// The cause is logged where it is known, and never told.
    pub(crate) fn internal() -> Self {
        Self::new(Kind::Internal, "Something went wrong on our side. It has been recorded.")
    }

    pub(crate) fn method_not_allowed(allow: String) -> Self {
        let detail = format!("This path takes {allow}.");
        Self { allow: Some(allow), ..Self::new(Kind::MethodNotAllowed, detail) }
    }
}

/// Rounded up, so that who waits so long has waited long enough.
pub(crate) fn whole_seconds(time: Duration) -> u64 {
    time.as_millis().div_ceil(1000).max(1).try_into().unwrap_or(u64::MAX)
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::builder().status(self.kind.status()).content_type(CONTENT_TYPE);
        if let Some(seconds) = self.retry_after_seconds.or(self.kind.retry_after()) {
            response = response.header(header::RETRY_AFTER, seconds);
        }
        if self.kind == Kind::Unauthenticated {
            response = response.header(header::WWW_AUTHENTICATE, "Bearer");
        }
        if let Some(allow) = self.allow {
            response = response.header(header::ALLOW, allow);
        }
        let body = Body {
            kind: self.kind.uri().to_owned(),
            title: self.kind.title().to_owned(),
            detail: self.detail.into_owned(),
            members: *self.members,
        };
        response.body(body.to_json_string())
    }
}

impl From<Problem> for poem::Error {
    fn from(problem: Problem) -> Self {
        Self::from_response(problem.into_response())
    }
}

/// With which every operation answers.
const EVERYWHERE: &[Kind] = &[Kind::InvalidRequest];

/// With which every operation answers that asks a port, and so may find that what it asks for cannot be.
const ASKING: &[Kind] = &[Kind::Internal];

/// The kinds of problem that an operation answers with, besides those of every operation.
pub(crate) trait Refusals: Send + Sync + 'static {
    const KINDS: &'static [Kind];

    /// All kinds, those of every operation included.
    fn kinds() -> impl Iterator<Item = Kind> {
        let asks = [Kind::TryAgainLater, Kind::UpstreamUnavailable].iter().any(|kind| Self::KINDS.contains(kind));
        let everywhere = EVERYWHERE.iter().chain(if asks { ASKING } else { &[] });
        Self::KINDS.iter().chain(everywhere.filter(|kind| !Self::KINDS.contains(kind))).copied()
    }
}

/// Names the refusals of an operation.
macro_rules! refusals {
    ($($operation:ident: $($kind:ident),+;)+) => {
        $(
            struct $operation;

            impl $crate::problem::Refusals for $operation {
                const KINDS: &'static [$crate::kind::Kind] = &[$($crate::kind::Kind::$kind),+];
            }
        )+
    };
}
pub(crate) use refusals;

/// A problem that the operation documents.
#[derive(Debug)]
pub(crate) struct Refused<R>(Problem, PhantomData<R>);

impl<R: Refusals> From<Problem> for Refused<R> {
    fn from(problem: Problem) -> Self {
        debug_assert!(
            R::kinds().any(|kind| kind == problem.kind),
            "{:?} is not documented for {}",
            problem.kind,
            std::any::type_name::<R>()
        );
        Self(problem, PhantomData)
    }
}

impl<R> From<Refused<R>> for poem::Error {
    fn from(refused: Refused<R>) -> Self {
        refused.0.into()
    }
}

impl<R: Refusals> ApiResponse for Refused<R> {
    fn meta() -> MetaResponses {
        let mut kinds: Vec<_> = R::kinds().collect();
        kinds.sort_by_key(|kind| kind.status());
        let responses = kinds.chunk_by(|one, other| one.status() == other.status()).map(response).collect();
        MetaResponses { responses }
    }

    fn register(registry: &mut Registry) {
        Body::register(registry);
    }
}

/// With which a request for any operation under `/v1` may be answered before the operation hears of it.
const AT_THE_DOOR: &[Kind] = &[Kind::Unauthenticated, Kind::TooManyRequests, Kind::HeadTooLarge, Kind::TryAgainLater];
/// The same of every other operation.
const OUTSIDE: &[Kind] = &[Kind::HeadTooLarge];

/// Documents that a request for `path` may be turned away at the door, beside what its `responses` say.
pub(crate) fn add_turned_away(path: &str, responses: &mut Map<String, Json>) {
    for kind in if path.starts_with("/v1") { AT_THE_DOOR } else { OUTSIDE } {
        let status = kind.status().as_str().to_owned();
        let known = responses.entry(status).or_insert_with(|| json!(response(&[*kind])));
        if let Some(kinds) = known.pointer_mut(KINDS_OF_RESPONSE).and_then(Json::as_array_mut)
            && !kinds.contains(&kind.uri().into())
        {
            kinds.push(kind.uri().into());
        }
    }
    responses.sort_keys();
}

/// Where the documentation of a response says which kinds it may be.
pub(crate) const KINDS_OF_RESPONSE: &str = "/content/application~1problem+json/schema/allOf/1/properties/type/enum";

/// The documentation of one status, which may be the answer of several kinds.
fn response(kinds: &[Kind]) -> MetaResponse {
    let possible = MetaSchema {
        properties: vec![(
            "type",
            MetaSchemaRef::Inline(Box::new(MetaSchema {
                enum_items: kinds.iter().map(|kind| kind.uri().into()).collect(),
                ..MetaSchema::new("string")
            })),
        )],
        ..MetaSchema::new("object")
    };
    let schema =
        MetaSchema { all_of: vec![Body::schema_ref(), MetaSchemaRef::Inline(Box::new(possible))], ..MetaSchema::ANY };
    let retry_after = kinds.iter().any(|kind| kind.retry_after().is_some()).then(|| MetaHeader {
        name: "Retry-After".to_owned(),
        description: Some("After how many seconds to try again.".to_owned()),
        required: true,
        deprecated: false,
        schema: u32::schema_ref(),
    });
    MetaResponse {
        // The document says more, once it is put together.
        description: "A problem.",
        status: kinds.first().map(|kind| kind.status().as_u16()),
        status_range: None,
        content: vec![MetaMediaType { content_type: CONTENT_TYPE, schema: MetaSchemaRef::Inline(Box::new(schema)) }],
        headers: retry_after.into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use poem::http::StatusCode;

    use super::*;

    #[tokio::test]
    async fn a_problem_is_told_as_rfc_9457_wants_it() {
        let sku = "gochujang".parse().ok().map(Checked);
        let problem = Problem::new(Kind::OutOfStock, "Only 3 are left.").with(Members {
            sku,
            available: Some(3),
            ..Members::default()
        });
        let response = problem.into_response();
        assert_eq!(response.status(), StatusCode::CONFLICT);
        assert_eq!(response.content_type(), Some(CONTENT_TYPE));
        let body: serde_json::Value = response.into_body().into_json().await.expect("JSON");
        let expected = serde_json::json!({
            "type": "/problems/out-of-stock",
            "title": "Out of stock",
            "detail": "Only 3 are left.",
            "sku": "gochujang",
            "available": 3,
        });
        assert_eq!(body, expected);
    }
}
