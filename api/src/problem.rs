//! Problems: the one envelope of every 4xx and 5xx (RFC 9457). The kinds are a closed set, and each operation states
//! which of them it answers with.

use std::borrow::Cow;
use std::marker::PhantomData;

use poem::http::{StatusCode, header};
use poem::{IntoResponse, Response};
use poem_openapi::registry::{
    MetaHeader, MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, Registry,
};
use poem_openapi::types::{ToJSON, Type};
use poem_openapi::{ApiResponse, Object};
use workflows::{Context, MerchantId, OrderId, Sku};

use crate::json::{CommandName, ContextName, Money, StatusName};
use crate::value::Checked;

const CONTENT_TYPE: &str = "application/problem+json";

/// What went wrong. `type` is `/problems/` and the slug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    InvalidRequest,
    InvalidCursor,
    PaymentDeclined,
    NotFound,
    MethodNotAllowed,
    OutOfStock,
    PriceChanged,
    OrderCancelled,
    CommandNotAllowed,
    StockReserved,
    BodyTooLarge,
    UnsupportedMediaType,
    UnknownMerchant,
    UnknownProduct,
    UnknownLifecycle,
    PaymentMethodNotAccepted,
    CurrencyMismatch,
    IdempotencyKeyReused,
    Internal,
    TryAgainLater,
    UpstreamUnavailable,
    NotReady,
}

/// How a kind is told: status, slug, title, and when it happens.
struct About(u16, &'static str, &'static str, &'static str);

impl Kind {
    pub(crate) const ALL: [Self; 22] = [
        Self::InvalidRequest,
        Self::InvalidCursor,
        Self::PaymentDeclined,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::OutOfStock,
        Self::PriceChanged,
        Self::OrderCancelled,
        Self::CommandNotAllowed,
        Self::StockReserved,
        Self::BodyTooLarge,
        Self::UnsupportedMediaType,
        Self::UnknownMerchant,
        Self::UnknownProduct,
        Self::UnknownLifecycle,
        Self::PaymentMethodNotAccepted,
        Self::CurrencyMismatch,
        Self::IdempotencyKeyReused,
        Self::Internal,
        Self::TryAgainLater,
        Self::UpstreamUnavailable,
        Self::NotReady,
    ];

    const fn about(self) -> About {
        match self {
            Self::InvalidRequest => {
                About(400, "invalid-request", "Invalid request", "A parameter or the body is not as documented.")
            }
            Self::InvalidCursor => {
                About(400, "invalid-cursor", "Invalid cursor", "`cursor` is not one that a list returned.")
            }
            Self::PaymentDeclined => About(
                402,
                "payment-declined",
                "Payment declined",
                "The payment provider said no (`reason`). The order is rejected and its stock is free again.",
            ),
            Self::NotFound => About(404, "not-found", "Not found", "There is nothing of that name."),
            Self::MethodNotAllowed => {
                About(405, "method-not-allowed", "Method not allowed", "The path takes other verbs; see `Allow`.")
            }
            Self::OutOfStock => About(
                409,
                "out-of-stock",
                "Out of stock",
                "Only `available` pieces of `sku` are left. No order stands.",
            ),
            Self::PriceChanged => About(
                409,
                "price-changed",
                "Price changed",
                "The order costs `total` now, which is not the `expected_total`. No order was placed.",
            ),
            Self::OrderCancelled => {
                About(409, "order-cancelled", "Order cancelled", "The order was cancelled before it stood.")
            }
            Self::CommandNotAllowed => About(
                409,
                "command-not-allowed",
                "Command not allowed",
                "The order is at `status` and takes only `allowed_commands` from the caller.",
            ),
            Self::StockReserved => About(
                409,
                "stock-reserved",
                "Stock is reserved",
                "Open orders hold `reserved` pieces, which is more than the new `on_hand`.",
            ),
            Self::BodyTooLarge => {
                About(413, "body-too-large", "Body too large", "The request's body is larger than 64 KiB.")
            }
            Self::UnsupportedMediaType => About(
                415,
                "unsupported-media-type",
                "Unsupported media type",
                "The body is not declared as `application/json`.",
            ),
            Self::UnknownMerchant => {
                About(422, "unknown-merchant", "Unknown merchant", "There is no merchant `merchant_id`.")
            }
            Self::UnknownProduct => {
                About(422, "unknown-product", "Unknown product", "The merchant has no product `sku`.")
            }
            Self::UnknownLifecycle => {
                About(422, "unknown-lifecycle", "Unknown lifecycle", "There is no lifecycle of that name.")
            }
            Self::PaymentMethodNotAccepted => About(
                422,
                "payment-method-not-accepted",
                "Payment method not accepted",
                "The merchant's lifecycle is paid in another way.",
            ),
            Self::CurrencyMismatch => {
                About(422, "currency-mismatch", "Currency mismatch", "The price is not in the merchant's currency.")
            }
            Self::IdempotencyKeyReused => About(
                422,
                "idempotency-key-reused",
                "Idempotency key reused",
                "The `Idempotency-Key` was used before, with another body.",
            ),
            Self::Internal => About(500, "internal", "Internal error", "Something failed that should not."),
            Self::TryAgainLater => About(
                503,
                "try-again-later",
                "Try again later",
                "Something that is needed does not answer. Nothing was changed; repeat the request after `Retry-After`.",
            ),
            Self::UpstreamUnavailable => About(
                503,
                "upstream-unavailable",
                "Upstream unavailable",
                "The context `context` does not answer. Orders go on meanwhile.",
            ),
            Self::NotReady => About(503, "not-ready", "Not ready", "This instance should not be sent requests now."),
        }
    }

    pub(crate) fn status(self) -> StatusCode {
        StatusCode::from_u16(self.about().0).expect("a test builds the status of every kind")
    }

    /// The relative URI in `type`.
    pub(crate) fn uri(self) -> String {
        format!("/problems/{}", self.about().1)
    }

    pub(crate) const fn title(self) -> &'static str {
        self.about().2
    }

    pub(crate) const fn when(self) -> &'static str {
        self.about().3
    }

    /// After how many seconds it may be worth asking again.
    const fn retry_after(self) -> Option<u8> {
        match self {
            Self::TryAgainLater | Self::UpstreamUnavailable | Self::NotReady => Some(5),
            _ => None,
        }
    }
}

/// One problem, on its way to the caller.
#[derive(Debug)]
pub(crate) struct Problem {
    kind: Kind,
    detail: Cow<'static, str>,
    members: Box<Members>,
    allow: Option<String>,
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
    /// The context that does not answer.
    pub context: Option<ContextName>,
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
        Self { kind, detail: detail.into(), members: Box::default(), allow: None }
    }

    #[must_use]
    pub(crate) fn with(self, members: Members) -> Self {
        Self { members: Box::new(members), ..self }
    }

    pub(crate) fn not_found(what: impl std::fmt::Display) -> Self {
        Self::new(Kind::NotFound, format!("There is no {what}. Check the path."))
    }

    /// Nothing was changed, and the caller may repeat the request.
    pub(crate) fn try_again_later() -> Self {
        Self::new(Kind::TryAgainLater, "This cannot be done right now. Nothing was changed; please try again shortly.")
    }

    pub(crate) fn upstream_unavailable(context: Context) -> Self {
        let detail =
            format!("The {context} context does not answer right now. Orders go on; please try again shortly.");
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

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::builder().status(self.kind.status()).content_type(CONTENT_TYPE);
        if let Some(seconds) = self.kind.retry_after() {
            response = response.header(header::RETRY_AFTER, u16::from(seconds));
        }
        if let Some(allow) = self.allow {
            response = response.header(header::ALLOW, allow);
        }
        let body = Body {
            kind: self.kind.uri(),
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

/// The kinds of problem that an operation answers with, besides `internal`.
pub(crate) trait Refusals: Send + Sync + 'static {
    const KINDS: &'static [Kind];
}

/// Names the refusals of an operation.
macro_rules! refusals {
    ($($operation:ident: $($kind:ident),+;)+) => {
        $(
            struct $operation;

            impl $crate::problem::Refusals for $operation {
                const KINDS: &'static [$crate::problem::Kind] = &[$($crate::problem::Kind::$kind),+];
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
            problem.kind == Kind::Internal || R::KINDS.contains(&problem.kind),
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
        let mut kinds = R::KINDS.to_vec();
        kinds.push(Kind::Internal);
        kinds.sort_by_key(|kind| kind.status());
        let responses = kinds.chunk_by(|one, other| one.status() == other.status()).map(response).collect();
        MetaResponses { responses }
    }

    fn register(registry: &mut Registry) {
        Body::register(registry);
    }
}

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
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_has_a_type_of_its_own() {
        let types: BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.uri()).collect();
        assert_eq!(types.len(), Kind::ALL.len());
        for kind in Kind::ALL {
            assert!(kind.status().is_client_error() || kind.status().is_server_error(), "{kind:?}");
        }
    }

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
