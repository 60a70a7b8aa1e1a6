//! The contracts: what each context's provider is asked. One table, from which come the client, the server's answers
//! and the document.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;
use workflows::delivery::{Deliveries, Delivery, DeliveryRequest};
use workflows::kitchen::{Kitchen, Ticket};
use workflows::notification::{
    AttemptRequest, Attempted, Message, MessageQuery, Notice, Notification, Notifications, Webhook, WebhookPut,
    WebhookQuery, WebhookRef, WebhookSaved,
};
use workflows::payment::{AuditQuery, Audited, Charge, Charged, Due, Payment, Payments};
use workflows::promotion::{Coupon, CouponRequest, Promotions};
use workflows::provider::{Listing, OrderRef, Undo};
use workflows::stock::{Product, ProductPut, ProductQuery, Reservation, Reserved, Stock};
use workflows::{Context, MessageId, ProviderError};

use super::problem::{Kind, Problem};
use super::remote::Remote;

/// What is asked of the provider of a context.
pub(super) struct Contract {
    /// In one sentence.
    pub summary: &'static str,
    pub verbs: &'static [Verb],
}

/// One call.
pub(super) struct Verb {
    /// As in the step `context.verb` and in the path.
    pub name: &'static str,
    pub summary: &'static str,
    pub description: &'static str,
    pub request: fn(&mut SchemaGenerator) -> Schema,
    pub answer: fn(&mut SchemaGenerator) -> Schema,
}

/// A port behind its contract.
#[async_trait]
pub(super) trait Serve: Send + Sync {
    /// The answer to a verb of the contract, both as JSON.
    async fn answer(&self, verb: &str, request: &[u8]) -> Result<Vec<u8>, Problem>;
}

macro_rules! contracts {
    ($($context:ident, $port:ident: $about:literal {
        $($verb:ident($request:ty) -> $answer:ty, $summary:literal: $description:literal;)+
    })+) => {
        pub(super) fn of(context: Context) -> &'static Contract {
            match context {
                $(Context::$context => &Contract {
                    summary: $about,
                    verbs: &[$(Verb {
                        name: stringify!($verb),
                        summary: $summary,
                        description: $description,
                        request: schema::<$request>,
                        answer: schema::<$answer>,
                    }),+],
                }),+
            }
        }

        $(
            #[async_trait]
            impl $port for Remote {
                $(async fn $verb(&self, request: &$request) -> Result<$answer, ProviderError> {
                    self.call(stringify!($verb), request).await
                })+
            }

            #[async_trait]
            impl Serve for Arc<dyn $port> {
                async fn answer(&self, verb: &str, request: &[u8]) -> Result<Vec<u8>, Problem> {
                    match verb {
                        $(stringify!($verb) => written(&(**self).$verb(&read(request)?).await?),)+
                        _ => Err(Problem::new(Kind::NotFound, "There is no such verb.")),
                    }
                }
            }
        )+
    };
}

contracts! {
    Payment, Payments: "Takes the money of orders, and gives it back." {
        charge(Charge) -> Charged, "Take the money":
            "Charges the card, once for each `payment_id`, ever. A card that is declined is declined for good.";
        refund(Due) -> Undo, "Give the money back":
            "Gives back what was charged or confirmed, or makes sure that it never will be: a charge, or the \
             confirmation of a deposit, that comes later is impossible.";
        open_deposit(Due) -> (), "Expect a bank transfer":
            "Impossible where it was closed or given back before.";
        close_deposit(Due) -> Undo, "Expect it no more":
            "Or makes sure that none is expected. What was confirmed before stays.";
        confirm_deposit(Due) -> (), "A transfer has arrived":
            "Impossible where none is expected.";
        return_deposit(Due) -> Undo, "Send a late transfer back":
            "A transfer has arrived that is expected no more: it is booked, and goes back at once. Nothing where the \
             deposit was confirmed in time; 503 as long as it is still expected.";
        payments(Listing) -> Vec<Payment>, "List payments": "Newest first, each with its ledger entries.";
        audit(AuditQuery) -> Vec<Audited>, "Audit the books":
            "Everything that is written under each payment's id, in the order of the ids, page by page until a page is \
             empty. Asked for when the money is to be proved: entries without a payment are told, too, and nothing is \
             left out because it makes no sense.";
    }
    Stock, Stock: "Knows the merchants' products, and holds them for orders." {
        reserve(Reservation) -> Reserved, "Hold products":
            "All lines or none, and never more than there is. An order that was refused once is refused for good. \
             Impossible where it was released before.";
        release(OrderRef) -> Undo, "Give a hold back": "A hold that comes later is impossible.";
        commit(OrderRef) -> (), "Turn a hold into a sale":
            "The pieces leave the house. Impossible where nothing is held.";
        restock(OrderRef) -> Undo, "Take a sale back": "The pieces are in the house again.";
        put_product(Product) -> ProductPut, "Create or replace a product":
            "What is held for open orders stays held: `reserved` is not taken from the request.";
        products(ProductQuery) -> Vec<Product>, "List products": "A merchant's, by SKU.";
    }
    Delivery, Deliveries: "Brings orders to people." {
        request(DeliveryRequest) -> (), "Request a delivery": "Impossible where it was called off before.";
        start(OrderRef) -> (), "It is on its way": "Impossible where it was not requested, or was called off.";
        complete(OrderRef) -> (), "It has arrived": "Impossible where it did not start.";
        cancel(OrderRef) -> Undo, "Call it off":
            "Or makes sure that none begins. Impossible where it has arrived.";
        deliveries(Listing) -> Vec<Delivery>, "List deliveries": "Newest first.";
    }
    Kitchen, Kitchen: "Makes what was ordered." {
        offer(Ticket) -> (), "Offer an order":
            "Puts it before the merchant, who has not accepted it yet. Impossible where it was withdrawn before.";
        withdraw(OrderRef) -> Undo, "Take an offer back": "Or makes sure that none comes.";
        start(Ticket) -> (), "Begin to make it":
            "Whether or not it was offered before. Impossible where it was withdrawn or stopped.";
        finish(OrderRef) -> (), "It is made": "Impossible where it was not begun.";
        stop(OrderRef) -> Undo, "Stop making it": "Or makes sure that nothing begins.";
    }
    Promotion, Promotions: "Issues coupons for orders." {
        issue(CouponRequest) -> (), "Issue a coupon":
            "Once for each `coupon_id`. Impossible where it was revoked before.";
        revoke(OrderRef) -> Undo, "Make a coupon worthless": "Or makes sure that none is issued.";
        coupons(Listing) -> Vec<Coupon>, "List coupons": "Newest first.";
    }
    Notification, Notifications: "Makes it known how orders fare." {
        send(Notice) -> Vec<MessageId>, "Record what became true":
            "One notification for each change of the status, written to the log. Answers the messages that are to be \
             delivered, in the order of their events; the engine asks for each of them.";
        deliver(AttemptRequest) -> Attempted, "Try to deliver a message":
            "One attempt, which is kept: asked again, it is another, unless the message was delivered before and this \
             is no replay. A failed attempt is an answer, too: it says when to try again.";
        notifications(Listing) -> Vec<Notification>, "List notifications":
            "Of one order in the order in which its status changed, or of all orders, newest first.";
        put_webhook(WebhookPut) -> WebhookSaved, "Create or replace a webhook":
            "Its signing secret is made when it is created, and told in that answer only. Impossible where no message \
             can go to its URL, or where the merchant has too many.";
        webhooks(WebhookQuery) -> Vec<Webhook>, "List webhooks": "A merchant's, by name.";
        delete_webhook(WebhookRef) -> bool, "Remove a webhook":
            "With its secret and what was sent to it. `false` where there is none.";
        messages(MessageQuery) -> Vec<Message>, "List messages": "To one webhook, newest first.";
    }
}

fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// What the text says may be a card's token or a secret: only where it is wrong is told.
pub(super) fn read<T: DeserializeOwned>(request: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(request).map_err(|error| {
        let what = if error.is_data() { "not as documented" } else { "no JSON" };
        let detail = format!("The body is {what} (line {}, column {}).", error.line(), error.column());
        Problem::new(Kind::InvalidRequest, detail)
    })
}

pub(super) fn written<T: Serialize>(answer: &T) -> Result<Vec<u8>, Problem> {
    serde_json::to_vec(answer).map_err(|error| Problem::internal(&error))
}
