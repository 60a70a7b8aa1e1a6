//! Who is told, what is listed, and the webhooks. Attempts are in `attempt_test.rs`.

#[path = "attempt_test.rs"]
mod attempts;
#[path = "log_test.rs"]
mod log;

use super::receiver::{Heard, Receiver, Reply};
use super::*;
use crate::{Store, Template, TemplateSettings};
use serde_json::json;
use std::time::Duration;
use workflows::notification::{MessageSummary, Secret, WEBHOOKS_PER_MERCHANT};
use workflows::sandbox::{Mode, Sandbox};
use workflows::{Currency, MerchantId, Money, Status, WebhookName};

const SCHEDULE: [Duration; 2] = [Duration::from_secs(5), Duration::from_mins(5)];

async fn with(settings: NotificationSettings) -> (Arc<BuiltIn>, Arc<Modes>) {
    let modes = Arc::new(Modes::default());
    let store = Store::open("mem://").await.expect("opens");
    let database = store.database("notifications").await.expect("opens");
    (Arc::new(BuiltIn::open(database, modes.clone(), settings).await.expect("defines")), modes)
}

fn settings() -> NotificationSettings {
    NotificationSettings {
        schedule: SCHEDULE.to_vec(),
        attempt_timeout: Duration::from_secs(10),
        webhooks_to: None,
        template: None,
    }
}

async fn notifications() -> Arc<BuiltIn> {
    with(settings()).await.0
}

fn order(n: u128) -> OrderId {
    OrderId::from_bits(n)
}

fn event(number: u32, kind: &str, status: Status, status_changed: bool) -> NoticedEvent {
    NoticedEvent {
        number,
        kind: kind.to_owned(),
        at: "2025-03-01T09:00:00.123456Z".parse().expect("a time"),
        status,
        status_changed,
        status_label: status.label(workflows::order::Language::Korean).to_owned(),
        reason: None,
    }
}

/// Placed and paid at once: three events, two of them a change.
fn notice(order_id: OrderId) -> Notice {
    Notice {
        order_id,
        merchant_id: "pizza".parse().expect("valid"),
        total: Money::new(12_000, Currency::KRW),
        recipient: "Kim".to_owned(),
        phone: "010-1234-5678".to_owned(),
        events: vec![
            event(1, "order_placed", Status::Placed, true),
            event(2, "payment_approved", Status::Placed, false),
            event(3, "order_paid", Status::Paid, true),
        ],
    }
}

/// One event alone.
fn paid(order_id: OrderId) -> Notice {
    Notice { events: vec![event(3, "order_paid", Status::Paid, true)], ..notice(order_id) }
}

fn webhook(name: &str, url: &str, events: &[&str]) -> WebhookPut {
    WebhookPut {
        merchant_id: "pizza".parse().expect("valid"),
        name: name.parse().expect("valid"),
        url: url.to_owned(),
        events: events.iter().map(|&event| event.to_owned()).collect(),
    }
}

fn reference(name: &str) -> WebhookRef {
    WebhookRef { merchant_id: "pizza".parse().expect("valid"), name: name.parse().expect("valid") }
}

fn all_webhooks() -> WebhookQuery {
    WebhookQuery { merchant_id: "pizza".parse().expect("valid"), name: None }
}

async fn put(notifications: &BuiltIn, webhook: &WebhookPut) -> Option<Secret> {
    notifications.put_webhook(webhook).await.expect("saves").secret
}

async fn attempt(notifications: &BuiltIn, message: &MessageId, failures: u32) -> Attempted {
    let request = AttemptRequest { message_id: message.clone(), failures, replay: false };
    notifications.deliver(&request).await.expect("answers")
}

async fn replay(notifications: &BuiltIn, message: &MessageId) -> Attempted {
    let request = AttemptRequest { message_id: message.clone(), failures: 0, replay: true };
    notifications.deliver(&request).await.expect("answers")
}

async fn messages_to(notifications: &BuiltIn, name: &str) -> Vec<Message> {
    let query = MessageQuery { webhook: reference(name), message_id: None, limit: 100 };
    notifications.messages(&query).await.expect("lists")
}

async fn message(notifications: &BuiltIn, id: &MessageId) -> Message {
    let listed = messages_to(notifications, "till").await;
    listed.into_iter().find(|message| message.id == *id).expect("it is there")
}

async fn of_order(notifications: &BuiltIn, order: &OrderId) -> Vec<Notification> {
    let listing = Listing { order_id: Some(order.clone()), merchant_id: None, limit: 100 };
    notifications.notifications(&listing).await.expect("lists")
}

/// A webhook `till` at the receiver, and one message on its way to it.
async fn one_message(receiver: &Receiver) -> (Arc<BuiltIn>, MessageId, Secret) {
    let notifications = notifications().await;
    let secret = put(&notifications, &webhook("till", &receiver.url, &[])).await.expect("it is new");
    let sent = notifications.send(&paid(order(1))).await.expect("sends");
    assert_eq!(sent.len(), 1);
    (notifications, sent[0].clone(), secret)
}

fn delay(attempted: Attempted) -> Option<Duration> {
    match attempted {
        Attempted::Failed { retry_in_ms } => retry_in_ms.map(Duration::from_millis),
        Attempted::Delivered => panic!("delivered"),
    }
}

#[tokio::test]
async fn each_status_change_is_told_once_and_in_order_however_often_it_is_sent() {
    let notifications = notifications().await;
    put(&notifications, &webhook("till", "http://127.0.0.1:9/", &[])).await;
    for n in 0..10 {
        let sends = (0..8).map(|_| {
            let notifications = notifications.clone();
            tokio::spawn(async move { notifications.send(&notice(order(n))).await.expect("sends") })
        });
        let expected =
            [1, 3].map(|number| order(n).notification(number).message(&Channel::read("webhook-till").expect("one")));
        for send in sends.collect::<Vec<_>>() {
            assert_eq!(send.await.expect("no panic"), expected);
        }
        let later = Notice {
            events: vec![
                event(4, "delivery_started", Status::InDelivery, true),
                event(12, "order_closed", Status::Closed, true),
            ],
            ..notice(order(n))
        };
        for _ in 0..2 {
            assert_eq!(notifications.send(&later).await.expect("sends").len(), 2);
        }
        let told = of_order(&notifications, &order(n)).await;
        let told: Vec<_> = told.iter().map(|told| (told.number, told.kind.as_str(), told.status)).collect();
        assert_eq!(
            told,
            [
                (1, "order_placed", Status::Placed),
                (3, "order_paid", Status::Paid),
                (4, "delivery_started", Status::InDelivery),
                (12, "order_closed", Status::Closed),
            ]
        );
    }
    assert_eq!(messages_to(&notifications, "till").await.len(), 40);
}

#[tokio::test]
async fn a_listing_of_all_is_newest_first_and_shows_the_state_of_each_message() {
    let receiver = Receiver::start().await;
    let (notifications, delivered, _) = one_message(&receiver).await;
    assert_eq!(attempt(&notifications, &delivered, 0).await, Attempted::Delivered);
    let pending = notifications.send(&notice(order(2))).await.expect("sends");
    let listed =
        notifications.notifications(&Listing { order_id: None, merchant_id: None, limit: 3 }).await.expect("lists");
    let summary = |id: &MessageId, state| {
        vec![MessageSummary { id: id.clone(), channel: Channel::read("webhook-till").expect("one"), state }]
    };
    let found: Vec<_> = listed.into_iter().map(|told| (told.id, told.messages)).collect();
    assert_eq!(
        found,
        [
            (order(2).notification(3), summary(&pending[1], MessageState::Pending)),
            (order(2).notification(1), summary(&pending[0], MessageState::Pending)),
            (order(1).notification(3), summary(&delivered, MessageState::Delivered)),
        ]
    );
    let newest =
        notifications.notifications(&Listing { order_id: None, merchant_id: None, limit: 1 }).await.expect("lists");
    assert_eq!(newest[0].id, order(2).notification(3));
}

#[tokio::test]
async fn webhooks_are_told_of_the_events_that_they_name_or_of_every_change() {
    let notifications = notifications().await;
    for (name, events) in [("till", &[][..]), ("books", &["payment_approved", "order_paid"]), ("idle", &["no_such"])] {
        put(&notifications, &webhook(name, "http://127.0.0.1:9/", events)).await;
    }
    let stranger =
        WebhookPut { merchant_id: "sauce-shop".parse().expect("valid"), ..webhook("till", "http://h/", &[]) };
    put(&notifications, &stranger).await;
    let sent = notifications.send(&notice(order(1))).await.expect("sends");
    let sent: Vec<_> = sent.iter().map(|id| id.as_str().split_once('_').expect("a prefix").1).collect();
    let id = |rest: &str| format!("{:032x}_{rest}", 1);
    assert_eq!(sent, [id("1.webhook-till"), id("2.webhook-books"), id("3.webhook-books"), id("3.webhook-till")]);
}

/// What comes at the same time is recorded together.
#[tokio::test]
async fn merchants_whose_orders_go_on_at_the_same_time_hear_of_their_own() {
    let notifications = notifications().await;
    let merchants: [MerchantId; 2] = ["pizza", "sauce-shop"].map(|merchant| merchant.parse().expect("valid"));
    for (merchant, name) in merchants.iter().zip(["till", "erp"]) {
        let webhook = webhook(name, "http://127.0.0.1:9/", &["order_paid"]);
        put(&notifications, &WebhookPut { merchant_id: merchant.clone(), ..webhook }).await;
    }
    let notices = merchants.iter().cycle().zip(1..=40).map(|(merchant, n)| {
        let notice = Notice { merchant_id: merchant.clone(), ..notice(order(n)) };
        let notifications = &notifications;
        async move { (n, notifications.send(&notice).await.expect("records")) }
    });
    for (n, messages) in futures::future::join_all(notices).await {
        let expected = order(n)
            .notification(3)
            .message(&Channel::Webhook(if n % 2 == 1 { "till" } else { "erp" }.parse().expect("valid")));
        assert_eq!(messages, [expected]);
    }
}

#[tokio::test]
async fn who_is_told_is_decided_once() {
    let notifications = notifications().await;
    put(&notifications, &webhook("till", "http://127.0.0.1:9/", &[])).await;
    let first = notifications.send(&notice(order(1))).await.expect("sends");
    put(&notifications, &webhook("late", "http://127.0.0.1:9/", &["payment_approved"])).await;
    assert!(notifications.delete_webhook(&reference("till")).await.expect("deletes"));
    assert_eq!(notifications.send(&notice(order(1))).await.expect("sends"), first);
    let twice = Notice { events: [notice(order(1)).events, notice(order(1)).events].concat(), ..notice(order(1)) };
    assert_eq!(notifications.send(&twice).await.expect("sends"), first);
    let one = notifications.send(&Notice { order_id: order(2), ..twice }).await.expect("sends");
    assert_eq!(one, [order(2).notification(2).message(&Channel::Webhook("late".parse().expect("valid")))]);
    assert!(notifications.send(&Notice { events: Vec::new(), ..notice(order(3)) }).await.expect("sends").is_empty());
    let more = Notice {
        events: notice(order(1))
            .events
            .into_iter()
            .chain([event(4, "payment_approved", Status::Paid, false)])
            .collect(),
        ..notice(order(1))
    };
    let also = notifications.send(&more).await.expect("sends");
    assert_eq!(also[..2], first);
    assert_eq!(
        messages_to(&notifications, "late").await.iter().map(|message| &message.id).collect::<Vec<_>>(),
        [&also[2], &one[0]]
    );
}

#[tokio::test]
async fn what_changes_no_status_is_decided_once_too_wherever_it_stands_in_a_notice() {
    let notifications = notifications().await;
    let noticed = |order: OrderId, changes: &[bool]| Notice {
        events: (1..)
            .zip(changes)
            .map(|(number, &changed)| event(number, "payment_approved", Status::Paid, changed))
            .collect(),
        ..notice(order)
    };
    let ways: [&[bool]; 5] = [&[false], &[false, false], &[false, true, false], &[true, false, false], &[true, true]];
    for (n, changes) in (0..).zip(ways) {
        assert!(notifications.send(&noticed(order(n), changes)).await.expect("sends").is_empty());
    }
    put(&notifications, &webhook("late", "http://127.0.0.1:9/", &["payment_approved"])).await;
    for (n, changes) in (0..).zip(ways) {
        for more in [&[true][..], &[false], &[false, true]] {
            let sent = notifications.send(&noticed(order(n), &[changes, more].concat())).await.expect("sends");
            let late = |number| order(n).notification(number).message(&Channel::read("webhook-late").expect("one"));
            let last = u32::try_from(changes.len() + more.len()).expect("few");
            let new: Vec<_> = (u32::try_from(changes.len()).expect("few") + 1..=last).map(late).collect();
            assert_eq!(sent, new, "{changes:?} {more:?}");
        }
        assert!(notifications.send(&noticed(order(n), changes)).await.expect("sends").is_empty());
    }
    assert_eq!(messages_to(&notifications, "late").await.len(), 2 * ways.len());
}

#[tokio::test]
async fn a_secret_is_told_once_and_stays() {
    let receiver = Receiver::start().await;
    let (notifications, id, secret) = one_message(&receiver).await;
    assert!(secret.0.starts_with("whsec_") && secret.0.len() == "whsec_".len() + 44, "32 bytes in base64");
    let saved = notifications.put_webhook(&webhook("till", &receiver.url, &["order_paid"])).await.expect("saves");
    assert_eq!(saved.secret, None);
    assert_eq!(saved.webhook.events, ["order_paid"]);
    assert!(saved.webhook.updated_at > saved.webhook.created_at);
    attempt(&notifications, &id, 0).await;
    let heard = &receiver.heard()[0];
    let verifier = standardwebhooks::Webhook::new(&secret.0).expect("a secret");
    verifier.verify(&heard.body, &heard.headers).expect("the secret is still the same");

    let other = put(&notifications, &webhook("books", &receiver.url, &[])).await;
    assert_ne!(other.as_ref(), Some(&secret));
    let listed = notifications.webhooks(&all_webhooks()).await.expect("lists");
    let names: Vec<&str> = listed.iter().map(|webhook| webhook.name.as_str()).collect();
    assert_eq!(names, ["books", "till"]);
    let one = WebhookQuery { name: Some("till".parse().expect("valid")), ..all_webhooks() };
    assert_eq!(notifications.webhooks(&one).await.expect("lists"), listed[1..]);
    let everything = format!(
        "{listed:?} {} {:?} {:?} {secret:?}",
        json!(listed),
        messages_to(&notifications, "till").await,
        of_order(&notifications, &order(1)).await,
    );
    assert!(!everything.contains("whsec_") && !everything.contains(&secret.0["whsec_".len()..]), "{everything}");
}

#[tokio::test]
async fn webhooks_created_at_the_same_moment_have_one_secret() {
    let notifications = notifications().await;
    let puts = (0..8).map(|_| {
        let notifications = notifications.clone();
        tokio::spawn(async move { put(&notifications, &webhook("till", "http://127.0.0.1:9/", &[])).await })
    });
    let mut told = Vec::new();
    for put in puts.collect::<Vec<_>>() {
        told.extend(put.await.expect("no panic"));
    }
    assert_eq!(told.len(), 1);
}

#[tokio::test]
async fn nothing_goes_to_a_webhook_that_was_deleted_nor_to_its_successor() {
    let receiver = Receiver::start().await;
    let (notifications, id, secret) = one_message(&receiver).await;
    assert!(notifications.delete_webhook(&reference("till")).await.expect("deletes"));
    assert!(!notifications.delete_webhook(&reference("till")).await.expect("deletes nothing"));
    assert!(notifications.webhooks(&all_webhooks()).await.expect("lists").is_empty());
    let successor = put(&notifications, &webhook("till", &receiver.url, &[])).await;
    assert!(successor.is_some_and(|successor| successor != secret));
    assert_eq!(delay(attempt(&notifications, &id, 0).await), None);
    assert_eq!(delay(replay(&notifications, &id).await), None);
    assert!(receiver.heard().is_empty());
    assert!(messages_to(&notifications, "till").await.is_empty());
    assert_eq!(of_order(&notifications, &order(1)).await[0].messages[0].state, MessageState::Failed);
    let unknown = order(9).notification(1).message(&Channel::Template);
    assert_eq!(delay(attempt(&notifications, &unknown, 0).await), None, "nor does what nobody knows");
}

#[tokio::test]
async fn messages_of_a_webhook_are_listed_newest_first() {
    let notifications = notifications().await;
    for name in ["till", "books"] {
        put(&notifications, &webhook(name, "http://127.0.0.1:9/", &[])).await;
    }
    let mut sent = Vec::new();
    for n in 1..=3 {
        let messages = notifications.send(&notice(order(n))).await.expect("sends");
        sent.extend(messages.into_iter().filter(|id| id.as_str().ends_with("till")));
    }
    sent.reverse();
    let listed: Vec<_> = messages_to(&notifications, "till").await.into_iter().map(|message| message.id).collect();
    assert_eq!(listed, sent);
    let query = |message_id, limit| MessageQuery { webhook: reference("till"), message_id, limit };
    let two = notifications.messages(&query(None, 2)).await.expect("lists");
    assert_eq!(two.iter().map(|message| &message.id).collect::<Vec<_>>(), sent[..2].iter().collect::<Vec<_>>());
    let one = notifications.messages(&query(Some(sent[3].clone()), 10)).await.expect("lists");
    assert_eq!(one.iter().map(|message| &message.id).collect::<Vec<_>>(), [&sent[3]]);
    let of_another =
        order(1).notification(1).message(&Channel::Webhook("books".parse::<WebhookName>().expect("valid")));
    assert!(notifications.messages(&query(Some(of_another), 10)).await.expect("lists").is_empty());
}

#[tokio::test]
async fn an_impossible_webhook_is_refused() {
    let notifications = notifications().await;
    let long = format!("http://h/{}", "a".repeat(2048));
    for url in ["", "hook", "/hook", "ftp://h/", "http://", "http://user@h/", "https://user:word@h/", &long] {
        let refused = notifications.put_webhook(&webhook("till", url, &[])).await;
        assert!(matches!(refused, Err(ProviderError::Impossible(_))), "{url}");
    }
    for n in 0..WEBHOOKS_PER_MERCHANT {
        put(&notifications, &webhook(&format!("till-{n}"), "https://h/hook?a=b", &[])).await;
    }
    let refused = notifications.put_webhook(&webhook("one-more", "http://h/", &[])).await;
    assert!(matches!(refused, Err(ProviderError::Impossible(_))), "{refused:?}");
    put(&notifications, &webhook("till-0", "http://h/", &[])).await;
    let neighbour = WebhookPut { merchant_id: "pizza-2".parse().expect("valid"), ..webhook("till", "http://h/", &[]) };
    put(&notifications, &neighbour).await;
}

#[tokio::test]
async fn no_call_passes_while_the_provider_is_down() {
    let receiver = Receiver::start().await;
    let (notifications, modes) = with(settings()).await;
    put(&notifications, &webhook("till", &receiver.url, &[])).await;
    let id = notifications.send(&paid(order(1))).await.expect("sends").remove(0);
    modes.set_mode(Context::Notification, Mode::Down).await.expect("sets");
    let attempt = AttemptRequest { message_id: id, failures: 0, replay: false };
    let query = MessageQuery { webhook: reference("till"), message_id: None, limit: 10 };
    assert!(notifications.send(&paid(order(2))).await.is_err());
    assert!(notifications.deliver(&attempt).await.is_err());
    assert!(notifications.notifications(&Listing { order_id: None, merchant_id: None, limit: 10 }).await.is_err());
    assert!(notifications.put_webhook(&webhook("till", &receiver.url, &[])).await.is_err());
    assert!(notifications.webhooks(&all_webhooks()).await.is_err());
    assert!(notifications.delete_webhook(&reference("till")).await.is_err());
    assert!(notifications.messages(&query).await.is_err());
    assert!(receiver.heard().is_empty());
    modes.set_mode(Context::Notification, Mode::Up).await.expect("sets");
    assert_eq!(notifications.deliver(&attempt).await.expect("answers"), Attempted::Delivered);
}
