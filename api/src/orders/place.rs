//! `POST /v1/orders`: what is asked, and how the outcome is answered.

use poem::http::HeaderMap;
use poem::{IntoResponse, Response};
use poem_openapi::param::Header;
use poem_openapi::payload::{Json, Payload};
use poem_openapi::registry::{MetaSchemaRef, Registry};
use poem_openapi::types::{Example, Type};
use poem_openapi::{ApiResponse, Object, OpenApi};
use workflows::order::Language;
use workflows::payment::CardToken;
use workflows::{MerchantId, OrderId, Role, Sku};

use super::json::{Customer, Order};
use super::key::IdempotencyKey;
use super::placing::{Placed, Placing};
use super::read::language_or_default;
use crate::access::Caller;
use crate::body::Body;
use crate::headers::{AcceptLanguage, Prefer};
use crate::json::{ExpectedTotal, PaymentMethodName};
use crate::kind::Kind;
use crate::problem::{Problem, Refused, refusals};
use crate::tags::Tag;
use crate::value::{Address, Card, Checked, CustomerName, Note, Phone, Quantity, Value};

pub(crate) struct PlaceOrders {
    pub placing: Placing,
}

refusals! {
    PlaceOrderRefusals: InvalidRequest, Forbidden, PaymentDeclined, OutOfStock, PriceChanged, OrderCancelled, RequestTimeout, BodyTooLarge,
        UnsupportedMediaType, UnknownMerchant, UnknownProduct, PaymentMethodNotAccepted, CurrencyMismatch,
        IdempotencyKeyReused, TryAgainLater;
}

/// What is ordered, for whom, and how it is paid. Prices come from the merchant's products.
#[derive(Object)]
#[oai(deny_unknown_fields, example, skip_serializing_if_is_none)]
pub(crate) struct PlaceOrder {
    /// Who sells.
    pub merchant_id: Checked<MerchantId>,
    /// Whom it is for.
    pub customer: Customer,
    /// What is ordered.
    #[oai(validator(min_items = 1, max_items = 100))]
    pub lines: Vec<OrderLine>,
    /// How it is paid.
    pub payment: PayBy,
    /// What the merchant should know.
    #[oai(nullable)]
    pub note: Option<Checked<Note>>,
    /// What the caller expects it to cost. An order that costs something else is not placed.
    #[oai(nullable)]
    pub expected_total: Option<ExpectedTotal>,
}

/// So many pieces of a product.
#[derive(Object)]
#[oai(deny_unknown_fields)]
pub(crate) struct OrderLine {
    /// The product.
    pub sku: Checked<Sku>,
    /// How many pieces.
    pub quantity: Checked<Quantity>,
}

/// How an order is paid.
#[derive(Object)]
#[oai(deny_unknown_fields, skip_serializing_if_is_none)]
pub(crate) struct PayBy {
    /// The merchant's lifecycle says which method it takes.
    pub method: PaymentMethodName,
    /// The payment provider's token for the card. The built-in provider knows `tok_ok`, `tok_declined`,
    /// `tok_flaky_N`, `tok_slow_MS` and `tok_lost_reply`. Needed where `method` is `card`.
    #[oai(nullable)]
    pub card_token: Option<Checked<Card>>,
}

impl PayBy {
    /// The token of an order that is paid by card.
    pub(crate) fn card_token(&self) -> Result<Option<CardToken>, Problem> {
        match (self.method, &self.card_token) {
            (PaymentMethodName::Card, Some(Checked(Card(token)))) => Ok(Some(CardToken(token.clone()))),
            (PaymentMethodName::Card, None) => {
                let detail = format!("payment.card_token: missing; expected {} to pay by card.", Card::FORM);
                Err(Problem::new(Kind::InvalidRequest, detail))
            }
            (PaymentMethodName::Deposit, _) => Ok(None),
        }
    }
}

impl Example for PlaceOrder {
    fn example() -> Self {
        let sku = Sku::from_text("gochujang").expect("a well-formed SKU");
        Self {
            merchant_id: Checked(MerchantId::from_text("sauce-shop").expect("a well-formed merchant id")),
            customer: Customer {
                name: Checked(CustomerName("Kim Minji".to_owned())),
                phone: Checked(Phone("+82 10-1234-5678".to_owned())),
                address: Checked(Address("12 Sejong-daero, Jung-gu, Seoul".to_owned())),
            },
            lines: vec![OrderLine { sku: Checked(sku), quantity: Checked(Quantity(2)) }],
            payment: PayBy { method: PaymentMethodName::Card, card_token: Some(Checked(Card("tok_ok".to_owned()))) },
            note: None,
            expected_total: None,
        }
    }
}

#[derive(ApiResponse)]
enum OrderPlaced {
    /// The order stands: it is paid, or its deposit is recorded. The body is the order as it was at that moment, so
    /// that a repeated request has the same answer.
    #[oai(status = 201)]
    Stands(
        Json<Order>,
        /// Where the order can be read.
        #[oai(header = "Location")]
        String,
        /// The order's version.
        #[oai(header = "ETag")]
        String,
        /// The preference that was honoured, if one was.
        #[oai(header = "Preference-Applied")]
        Option<String>,
    ),
    /// It was not decided in time whether the order stands. The engine goes on. The body is the order so far, and empty
    /// if it cannot be read yet.
    #[oai(status = 202)]
    Undecided(
        SoFar,
        /// Where the order can be read.
        #[oai(header = "Location")]
        String,
        /// The preference that was honoured, if one was.
        #[oai(header = "Preference-Applied")]
        Option<String>,
    ),
}

#[OpenApi(prefix_path = "/v1/orders", tag = "Tag::Orders")]
impl PlaceOrders {
    /// Place an order
    ///
    /// Answers once it is decided whether the order stands: stock is held and the card is charged, or nothing is. With
    /// an `Idempotency-Key` the request can be sent again without fear: the same key and body is the same order and the
    /// same answer.
    #[oai(path = "/", method = "post", operation_id = "place_order")]
    async fn place(
        &self,
        caller: Caller,
        headers: &HeaderMap,
        /// What the caller calls this request, so that sending it again does not order again. After an answer
        /// of 503 send it again with the same key.
        #[oai(name = "Idempotency-Key")]
        key: Header<Option<Checked<IdempotencyKey>>>,
        /// `wait=N` (RFC 7240): answer 202 if it is not decided within N seconds, at most 60; 10 unless said otherwise.
        #[oai(name = "Prefer")]
        prefer: Header<Option<Checked<Prefer>>>,
        /// The language of `status_label`: `ko` or `en`.
        #[oai(name = "Accept-Language")]
        language: Header<Option<Checked<AcceptLanguage>>>,
        request: Body<PlaceOrder>,
    ) -> Result<OrderPlaced, Refused<PlaceOrderRefusals>> {
        caller.must_be(&[Role::Customer, Role::Operator])?;
        // The framework leaves out header values that are not ASCII. A key must not get lost: it would order again.
        if key.0.is_none() && headers.contains_key("idempotency-key") {
            let detail =
                format!("Parameter `Idempotency-Key` is not as documented: expected {}.", IdempotencyKey::FORM);
            return Err(Problem::new(Kind::InvalidRequest, detail).into());
        }
        let key = key.0.map(|Checked(key)| key);
        let prefer = prefer.0.map_or_else(Prefer::default, |Checked(prefer)| prefer);
        let placed = self.placing.place(&caller, &request.0, key.as_ref(), prefer.wait()).await?;
        Ok(OrderPlaced::new(placed, caller.role(), language_or_default(language.0), prefer))
    }
}

impl OrderPlaced {
    fn new(placed: Placed, role: Role, language: Language, prefer: Prefer) -> Self {
        match placed {
            Placed::Stands(order) => {
                let order = Order::new(*order, role, language);
                let (location, tag) = (location(&order.id.0), order.tag());
                Self::Stands(Json(order), location, tag, prefer.applied())
            }
            Placed::Undecided { id, order } => {
                let order = order.map(|order| Order::new(*order, role, language));
                Self::Undecided(SoFar(order), location(&id), prefer.applied())
            }
        }
    }
}

fn location(id: &OrderId) -> String {
    format!("/v1/orders/{id}")
}

/// The order, if it can be read already.
struct SoFar(Option<Order>);

impl Payload for SoFar {
    const CONTENT_TYPE: &'static str = Json::<Order>::CONTENT_TYPE;

    fn schema_ref() -> MetaSchemaRef {
        Order::schema_ref()
    }

    fn register(registry: &mut Registry) {
        Order::register(registry);
    }
}

impl IntoResponse for SoFar {
    fn into_response(self) -> Response {
        self.0.map(Json).map_or_else(|| ().into_response(), IntoResponse::into_response)
    }
}
