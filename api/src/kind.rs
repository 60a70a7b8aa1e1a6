//! The kinds of problem: a closed set, in one table.

use poem::http::StatusCode;

macro_rules! kinds {
    ($($kind:ident = $status:literal, $slug:literal, $title:literal, $when:literal;)+) => {
        /// What went wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Kind {
            $($kind,)+
        }

        impl Kind {
            pub(crate) const ALL: &[Self] = &[$(Self::$kind,)+];

            const fn code(self) -> u16 {
                match self {
                    $(Self::$kind => $status,)+
                }
            }

            /// The relative URI in `type`.
            pub(crate) const fn uri(self) -> &'static str {
                match self {
                    $(Self::$kind => concat!("/problems/", $slug),)+
                }
            }

            pub(crate) const fn title(self) -> &'static str {
                match self {
                    $(Self::$kind => $title,)+
                }
            }

            /// When it happens, for the document.
            pub(crate) const fn when(self) -> &'static str {
                match self {
                    $(Self::$kind => $when,)+
                }
            }
        }
    };
}

// By status, as the document lists them.
kinds! {
    InvalidRequest = 400, "invalid-request", "Invalid request",
        "A parameter or the body is not as documented.";
    InvalidCursor = 400, "invalid-cursor", "Invalid cursor",
        "`cursor` is not one that a list returned.";
    Unauthenticated = 401, "unauthenticated", "Unauthenticated",
        "There is no token, or not one that is good here.";
    PaymentDeclined = 402, "payment-declined", "Payment declined",
        "The payment provider said no (`reason`). The order is rejected and its stock is free again.";
    Forbidden = 403, "forbidden", "Forbidden",
        "The token's role may not do this, or not for that merchant.";
    NotFound = 404, "not-found", "Not found",
        "There is nothing of that name.";
    MethodNotAllowed = 405, "method-not-allowed", "Method not allowed",
        "The path takes other verbs; see `Allow`.";
    RequestTimeout = 408, "request-timeout", "Request timeout",
        "The request's body did not arrive in time.";
    OutOfStock = 409, "out-of-stock", "Out of stock",
        "Only `available` pieces of `sku` are left. No order stands.";
    PriceChanged = 409, "price-changed", "Price changed",
        "The order costs `total` now, which is not the `expected_total`. No order was placed.";
    OrderCancelled = 409, "order-cancelled", "Order cancelled",
        "The order was cancelled before it stood.";
    CommandNotAllowed = 409, "command-not-allowed", "Command not allowed",
        "The order is at `status` and takes only `allowed_commands` from the caller.";
    CountChanged = 409, "count-changed", "Count changed",
        "`matched` orders match the filter now, which are not as many as `expected`. Nothing was done.";
    NothingToRetry = 409, "nothing-to-retry", "Nothing to retry",
        "No step of the order waits for another attempt, and its workflow is not paused.";
    StockReserved = 409, "stock-reserved", "Stock is reserved",
        "Open orders hold `reserved` pieces, which is more than the new `on_hand`.";
    BodyTooLarge = 413, "body-too-large", "Body too large",
        "The request's body is larger than 64 KiB.";
    UnsupportedMediaType = 415, "unsupported-media-type", "Unsupported media type",
        "The body is not declared as `application/json`.";
    UnknownMerchant = 422, "unknown-merchant", "Unknown merchant",
        "There is no merchant `merchant_id`.";
    UnknownProduct = 422, "unknown-product", "Unknown product",
        "The merchant has no product `sku`.";
    UnknownLifecycle = 422, "unknown-lifecycle", "Unknown lifecycle",
        "There is no lifecycle of that name.";
    InvalidLifecycle = 422, "invalid-lifecycle", "Invalid lifecycle",
        "No order could live by that lifecycle; `faults` names every reason.";
    PaymentMethodNotAccepted = 422, "payment-method-not-accepted", "Payment method not accepted",
        "The merchant's lifecycle is paid in another way.";
    CurrencyMismatch = 422, "currency-mismatch", "Currency mismatch",
        "The price is not in the merchant's currency.";
    IdempotencyKeyReused = 422, "idempotency-key-reused", "Idempotency key reused",
        "The `Idempotency-Key` was used before, with another body.";
    TooManyRequests = 429, "too-many-requests", "Too many requests",
        "The caller sends more requests than `RateLimit-Policy` allows. Repeat the request after `Retry-After`.";
    HeadTooLarge = 431, "head-too-large", "Request header fields too large",
        "The request's URL and headers are larger than 16 KiB, or are more than 64.";
    Internal = 500, "internal", "Internal error",
        "Something failed that should not.";
    TryAgainLater = 503, "try-again-later", "Try again later",
        "Something that is needed does not answer, or too much is going on. Repeat the request after `Retry-After`, with \
        the same `Idempotency-Key` if it had one.";
    UpstreamUnavailable = 503, "upstream-unavailable", "Upstream unavailable",
        "The context `context` does not answer.";
    NotReady = 503, "not-ready", "Not ready",
        "This instance should not be sent requests now.";
}

impl Kind {
    pub(crate) fn status(self) -> StatusCode {
        StatusCode::from_u16(self.code()).expect("a test builds the status of every kind")
    }

    /// After how many seconds it may be worth asking again.
    pub(crate) const fn retry_after(self) -> Option<u64> {
        match self {
            Self::TooManyRequests => Some(1),
            Self::TryAgainLater | Self::UpstreamUnavailable | Self::NotReady => Some(5),
            _ => None,
        }
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
}
